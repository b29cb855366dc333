/** Who may use the profile: one tab at a time, by a Web Lock. */

/** The browser's locks, as far as they are used. */
export type Locks = Pick<LockManager, "request">;

/** A lock that is held. */
export interface Held {
  /** Resolves when somebody has taken it over; never after `release`. */
  readonly lost: Promise<void>;
  release(): void;
}

/** The lock of a user's profile; null if another tab has it, unless it is to be taken over. */
export async function hold(
  locks: Locks,
  userId: string,
  { steal }: { readonly steal: boolean },
): Promise<Held | null> {
  return new Promise<Held | null>((resolve, reject) => {
    let release = (): void => undefined;
    let isHeld = false;
    let noteLoss = (): void => undefined;
    const lost = new Promise<void>((done) => {
      noteLoss = done;
    });
    const use = async (lock: Lock | null): Promise<void> => {
      if (lock === null) {
        resolve(null);
        return;
      }
      isHeld = true;
      await new Promise<void>((done) => {
        release = done;
        resolve({ lost, release });
      });
    };
    const options = steal ? { steal } : { ifAvailable: true };
    locks.request(`phantom:${userId}`, options, use).catch((error: unknown) => {
      if (isHeld) {
        noteLoss();
      } else {
        reject(error instanceof Error ? error : new Error(String(error)));
      }
    });
  });
}
