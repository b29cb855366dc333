import type { GroupPicture } from "../../groups_api.ts";
import { hueOf, initialOf } from "../names.ts";
import { Picture } from "./picture.tsx";

interface AvatarProps {
  readonly id: string;
  readonly label: string;
  readonly isOnline?: boolean;
  /** Of many people: not round. */
  readonly isGroup?: boolean;
  readonly picture?: GroupPicture | null;
}

/** A picture, or one made of a letter; the name stands beside it. */
export function Avatar({ id, label, isOnline = false, isGroup = false, picture = null }: AvatarProps) {
  return (
    <span class={`avatar hue-${hueOf(id)}${isGroup ? " many" : ""}`} aria-hidden="true">
      {picture === null ? initialOf(label) : <Picture picture={picture} instead={initialOf(label)} />}
      {isOnline && <span class="dot" />}
    </span>
  );
}
