/** Why a device list is not taken up, or a link ends; bytes that are not in order are `crypto/errors.ts`. */
import { CryptoError } from "../../crypto/errors.ts";

/** What speaks against a list that is in order by itself. */
export class ListNotTaken extends CryptoError {
  override readonly name: string = "ListNotTaken";
}

/** A list of a version that is not known here. */
export class NewerList extends ListNotTaken {
  override readonly name = "NewerList";
}

/** A list of another person than it should be. */
export class ForeignList extends ListNotTaken {
  override readonly name = "ForeignList";
}

/** A list that was made more than a day from now. */
export class EarlyList extends ListNotTaken {
  override readonly name = "EarlyList";
}

/** A list that is older than the one that is known. */
export class StaleList extends ListNotTaken {
  override readonly name = "StaleList";
}

/** A list beside the one that is known: their person has signed both, or somebody who has the key. */
export class ForkedList extends ListNotTaken {
  override readonly name = "ForkedList";
}

/** A link can not go on: it is too late, the digits were wrong too often, or somebody else knows the code. */
export class LinkEnded extends CryptoError {
  override readonly name = "LinkEnded";
}
