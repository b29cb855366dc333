import { useState } from "preact/hooks";
import { sentenceOf } from "../remote.ts";

/** Something that takes a while and can be refused. */
export interface Action {
  readonly isBusy: boolean;
  /** Why it was refused, or ''. */
  readonly fault: string;
  /** Does it, unless it is being done; whether it went well. */
  run(what: () => Promise<unknown>): Promise<boolean>;
  /** What was refused is no longer what is entered, or something else went well since. */
  forget(): void;
}

/** One action of a component. */
export function useAction(): Action {
  const [isBusy, setBusy] = useState(false);
  const [fault, setFault] = useState("");
  async function run(what: () => Promise<unknown>): Promise<boolean> {
    if (isBusy) return false;
    setBusy(true);
    setFault("");
    try {
      await what();
      return true;
    } catch (error) {
      setFault(sentenceOf(error));
      return false;
    } finally {
      setBusy(false);
    }
  }
  return { isBusy, fault, run, forget: () => setFault("") };
}
