/** What the vault holds of texts that a new device of somebody is to get. */
import { int, list, recordType, text, withDefault } from "../record_types.ts";
import type { RecordOf } from "../record_types.ts";
import { kindOf } from "../records.ts";

const LateText = recordType({ id: text, revision: int });
const zero = withDefault(int, 0);

/**
 * Texts that a person has reported first under a list that is not known here; `revision`: of that list. `given`: how
 * many copies new devices of theirs were sent in the day that began at `since`, in persistent time.
 */
export const LateRecord = recordType({ person: text, texts: list(LateText), given: zero, since: zero });
export type LateRecord = RecordOf<typeof LateRecord>;

/** `LATE`/user id of a person. */
export const LATE = kindOf("late", LateRecord);
