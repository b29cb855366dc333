/** Parts of the core that only some people use: a file of its own, loaded beside the core before a profile is opened. */
export { contentOf, exportContent } from "../core/client/backup.ts";
export { profileOf } from "./restoring.ts";
