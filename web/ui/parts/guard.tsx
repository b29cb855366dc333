import type { ComponentChildren } from "preact";
import { useErrorBoundary, useLayoutEffect, useRef } from "preact/hooks";

interface GuardProps {
  /** What is drawn: if drawing it has failed, another one is tried again. */
  readonly of: unknown;
  /** What stands in its place if it cannot be drawn. */
  readonly instead?: ComponentChildren;
  readonly children: ComponentChildren;
}

/** Draws what is in it; if that fails, the rest of the page goes on. */
export function Guard({ of, instead = <NotShown />, children }: GuardProps) {
  const [fault, tryAgain] = useErrorBoundary();
  const tried = useRef(of);
  useLayoutEffect(() => {
    if (fault !== undefined && tried.current !== of) tryAgain();
    tried.current = of;
  }, [of]);
  return <>{fault === undefined ? children : instead}</>;
}

/** What a `Guard` says. */
export function NotShown() {
  return <p class="not-shown">This could not be shown.</p>;
}
