/** What Chromium runs: all vectors, of files that the page is given. */
import { type Files, casesOf } from "../vectors.ts";
import { misjudged } from "./cofactor.ts";

/** What was played, and what differed. */
export interface Played {
  readonly count: number;
  readonly wrong: readonly string[];
}

function played(files: Files): Played {
  const cases = casesOf(files);
  const wrong = cases.flatMap((one) => {
    try {
      one.play(one.listed);
      return [];
    } catch (error) {
      return [`${one.list}: ${one.name}: ${String(error)}`];
    }
  });
  return { count: cases.length, wrong };
}

Object.assign(globalThis, { played, misjudged });
