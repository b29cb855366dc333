import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";

/** The present time, again every `every` milliseconds; 0 stops it. */
export function useNow(every: number): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    if (every === 0) return undefined;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), every);
    return () => clearInterval(timer);
  }, [every]);
  return now;
}

/** The present time to within a minute, for everything that says "yesterday". */
export const minute = signal(Date.now());
setInterval(() => (minute.value = Date.now()), 60_000);
