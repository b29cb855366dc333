/** Which content belongs to which suite: the only place where a session's suite decides on what is inside. */

import { MAX_PADDED } from "../crypto/body.ts";
import { pad, unpad } from "../crypto/padding.ts";
import { SUITE as FIRST_SUITE } from "../crypto/session.ts";
import { type Between, type Ends, LEAST_PADDED, type Newer, type Said } from "./content.ts";
import * as content1 from "./content1.ts";
import * as content2 from "./content2.ts";

/** What is said, as padded content for a session of a suite. */
export function encode(said: Said, ends: Ends, suite: 1 | 2): Uint8Array {
  if (suite === FIRST_SUITE) return content1.encode(said, ends);
  return pad(content2.encode(said, ends), LEAST_PADDED, MAX_PADDED);
}

/**
 * What a message says that was decrypted in a session of a suite.
 *
 * @param padded The decrypted content.
 * @param ends Who wrote to whom, by the session and the envelope.
 * @throws InvalidMessage It is no content of that suite, or names other people.
 */
export function decode(
  padded: Uint8Array,
  ends: Ends,
  suite: 1 | 2,
  more = content2.NO_MORE_KINDS,
): Said | Between | Newer {
  return suite === FIRST_SUITE ? content1.decode(padded, ends) : content2.decode(unpad(padded), ends, more);
}
