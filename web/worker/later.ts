/** What is needed once a profile is open, or by some people only: a file of its own, loaded beside the core before that. */
export { contentOf, exportContent } from "../core/client/backup.ts";
export { DEVICE_KINDS, DeviceBook, devicesOn } from "../core/client/devices/devices.ts";
export { extend } from "../core/client/extend.ts";
export { callsOn, meOf } from "./calls.ts";
export { DeviceFront } from "./devices.ts";
export { Changes } from "./updates.ts";
export { callsWithGroups, GroupsOfCore } from "./groups.ts";
export { profileOf } from "./restoring.ts";
