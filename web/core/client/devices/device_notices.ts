/** The warnings about devices. */
import { warning } from "../notices.ts";
import { labelOf } from "../status.ts";
import type { Contact, WarningEvent } from "../status.ts";

/** Somebody's devices, or one's own, are others than before. */
export function devicesChanged(peer: Contact, added: number, removed: number, isOwn: boolean): WarningEvent {
  const changes = [
    [added, "added"],
    [removed, "removed"],
  ]
    .filter(([count]) => count !== 0)
    .map((words) => words.join(" "));
  const whose = isOwn ? "your devices" : `the devices of ${labelOf(peer)}`;
  return warning(isOwn ? null : peer, "devices", `${whose} have changed: ${changes.join(" and ")}`);
}

/** There are two device lists of one revision: somebody else may have the key. */
export function devicesForked(peer: Contact, isOwn: boolean): WarningEvent {
  const whose = isOwn ? "yours" : `those of ${labelOf(peer)}`;
  const text =
    `there are two lists of devices where there can be one, and both are signed as ${whose}; somebody else may have ` +
    "the key";
  return warning(isOwn ? null : peer, "devices-forked", text);
}

/** Somebody's list has run out: a removal may be kept back. */
export function devicesOverdue(peer: Contact, isOwn: boolean): WarningEvent {
  const who = isOwn ? "your first device" : labelOf(peer);
  const text = `${who} has not renewed the list of devices for months; the relay may be holding a newer one back`;
  return warning(isOwn ? null : peer, "devices-overdue", text);
}

/** A device that somebody has removed has sent something. */
export function ofRemoved(peer: Contact): WarningEvent {
  const text = `a message from a device that ${labelOf(peer)} has removed cannot be read; ask them for it if you miss one`;
  return warning(peer, "unreadable", text);
}

/** One's person has removed this device. */
export function deviceRemoved(): WarningEvent {
  return warning(null, "device-removed", "your first device has removed this one; what it held is erased");
}
