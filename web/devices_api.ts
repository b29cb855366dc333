/**
 * What the page and its worker say to each other about the user's devices; the rest is in `api.ts`, whose rules hold
 * here, too. See protocol/devices.md.
 */

/** One of the user's devices. */
export interface OwnDevice {
  /** User id. */
  readonly id: string;
  readonly writtenId: string;
  /** What it is called, safe to show and on one line; '' if that is not known here. */
  readonly name: string;
  readonly addedAt: number;
  /** When something came from it last, null if nothing did. */
  readonly heardAt: number | null;
  /** The first one links and removes the others. */
  readonly isFirst: boolean;
  readonly isThis: boolean;
}

/**
 * How far the linking of a device has come. On the new device: code: `line` is shown until `until`; digits: they are
 * shown, and the user is asked whether it is to belong to `person`; agreed. On the first one: reaching; typing: the digits
 * can be typed; confirmed: they were right, and the user of the new device is waited for. On both: linked, or ended for
 * a `reason`, a sentence.
 */
export type Linking =
  | { readonly at: "code"; readonly line: string; readonly until: number }
  | { readonly at: "digits"; readonly digits: string; readonly person: string }
  | { readonly at: "agreed"; readonly digits: string; readonly person: string }
  | { readonly at: "reaching" }
  | { readonly at: "typing"; readonly name: string }
  | { readonly at: "confirmed"; readonly name: string }
  | { readonly at: "linked"; readonly name: string }
  | { readonly at: "ended"; readonly reason: string };

export interface DevicesState {
  /** The first one first; none if there never was a second one. */
  readonly devices: readonly OwnDevice[];
  /** Whether others can be linked and removed here. */
  readonly isFirst: boolean;
  /** Whether this one can be linked: nobody was written to here. */
  readonly isUnused: boolean;
  /** The profile came from a backup, and its list may name devices that were removed since: the user is to look. */
  readonly isRestored: boolean;
  /** Null if nothing is being linked. */
  readonly linking: Linking | null;
  /** While earlier texts come over to this device: how many have, and about how many follow; else null. */
  readonly history: { readonly texts: number; readonly left: number } | null;
}

/** The calls; all but `typeDigits` answer how things are then. */
export interface DeviceCalls {
  devices(): Promise<DevicesState>;
  /** On a new device, which is called so from now on: shows the code that makes it somebody's. */
  showLinkCode(given: { name: string }): Promise<DevicesState>;
  /** On the new device: it will belong to the person who was shown. */
  agreeToLink(): Promise<DevicesState>;
  /**
   * On the first device: links the one that shows this line. `passphrase`: of this profile, to be sure who asks. `history`:
   * whether it gets what was said until now.
   */
  linkDevice(given: { line: string; passphrase: string; history: boolean }): Promise<DevicesState>;
  /** On the first device: whether the digits are those that the new one shows; three wrong ones end it. */
  typeDigits(given: { digits: string }): Promise<boolean>;
  /** On either: it will not be linked, or what has come of it was seen. */
  cancelLink(): Promise<DevicesState>;
  /** On the first device: it erases itself, and gets nothing any more. */
  removeDevice(given: { device: string }): Promise<DevicesState>;
  /** On a first device that was restored: these are the user's devices. */
  keepDevices(): Promise<DevicesState>;
}

/** What the worker tells when any of it has changed. */
export interface DevicesUpdate {
  readonly kind: "devices";
  readonly state: DevicesState;
}
