/**
 * Why a relay could not be reached, in one sentence. Whatever prevents a connection is taken to pass: an outage.
 *
 * A browser tells a page nothing of what has failed (the WebSocket standard, "Feedback from the protocol"), so there is
 * little to say.
 */

/** Said when there was no connection at all; `isOnline`: whether the device has a network, as far as it knows. */
export function outage(isOnline: boolean): string {
  return isOnline ? "the relay does not answer" : "this device is not connected to a network";
}

/** Said of a connection that was there. */
export const LOST = "the connection was lost";
