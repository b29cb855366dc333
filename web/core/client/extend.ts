/** The further parts of this client, put together. */
import { Feature } from "../wire/frames.ts";
import type { Extend } from "./extension.ts";
import type { Groups } from "./groups/groups.ts";
import { groupsOf } from "./groups/main.ts";

/** Makes them, and tells of the groups. */
export function extendAnd(tell: (groups: Groups) => void): Extend {
  return (ports) => {
    const { extension, groups } = groupsOf(ports);
    tell(groups);
    return { ...extension, features: [...extension.features, Feature.DEVICES, Feature.ALLOWANCE] };
  };
}

export const extend: Extend = extendAnd(() => undefined);
