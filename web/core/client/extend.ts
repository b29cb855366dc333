/** The further parts of this client, put together. */
import { Feature } from "../wire/frames.ts";
import type { Extend } from "./extension.ts";
import { manyOf } from "./many/main.ts";

export const extend: Extend = (ports) => {
  const { extension } = manyOf(ports);
  return { ...extension, features: [...extension.features, Feature.DEVICES] };
};
