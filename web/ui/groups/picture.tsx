import { useId } from "preact/hooks";
import { api, type GroupTalk } from "../model.ts";
import { labelOf } from "../names.ts";
import type { Action } from "../parts/action.ts";
import { Avatar } from "../parts/avatar.tsx";
import { Refusal } from "../parts/field.tsx";

/** The most bytes of a group's picture. */
const MOST_BYTES = 4096;
/** Pixels on a side, and how good: the first that is small enough is taken. */
const TRIES: readonly (readonly [number, number])[] = [[96, 0.85], [96, 0.7], [96, 0.5], [72, 0.6], [48, 0.6], [32, 0.5]];

/** The picture of a group, which an admin chooses. */
export function ChoosePicture({ who, action }: { readonly who: GroupTalk; readonly action: Action }) {
  const { key: group, picture } = who;
  const id = useId();
  async function choose(file: File | undefined): Promise<void> {
    if (file !== undefined) await api().groupPicture({ group, picture: await madeSmall(file) });
  }
  return (
    <>
      <div class="choose-picture">
        <Avatar id={group} label={labelOf(who)} isGroup picture={picture} />
        <div class="field">
          <label for={id}>Picture</label>
          <input
            id={id}
            type="file"
            accept="image/*"
            disabled={action.isBusy}
            onChange={({ currentTarget: input }) => {
              void action.run(() => choose(input.files?.[0]));
              input.value = "";
            }}
          />
          <p class="hint">It is made small here, and only what is seen is sent: not where, when or with what it was taken.</p>
        </div>
      </div>
      <Refusal text={action.fault} />
      {picture !== null && (
        <button type="button" disabled={action.isBusy} onClick={() => void action.run(() => api().groupPicture({ group, picture: null }))}>
          Remove the picture
        </button>
      )}
    </>
  );
}

/** The middle of a picture as a small JPEG, drawn anew: what a camera wrote into it is gone. */
async function madeSmall(file: File): Promise<Uint8Array> {
  const whole = await createImageBitmap(file).catch(() => {
    throw { code: "usage", text: "This browser cannot read the picture. Choose a JPEG or PNG." };
  });
  try {
    const side = Math.min(whole.width, whole.height);
    for (const [pixels, quality] of TRIES) {
      const canvas = new OffscreenCanvas(pixels, pixels);
      const context = canvas.getContext("2d");
      if (context === null) break;
      context.fillStyle = "#ffffff"; // a JPEG has no holes
      context.fillRect(0, 0, pixels, pixels);
      context.drawImage(whole, (whole.width - side) / 2, (whole.height - side) / 2, side, side, 0, 0, pixels, pixels);
      const blob = await canvas.convertToBlob({ type: "image/jpeg", quality });
      if (blob.size <= MOST_BYTES) return new Uint8Array(await blob.arrayBuffer());
    }
  } finally {
    whole.close();
  }
  throw { code: "usage", text: "This picture cannot be made small enough. Choose another one." };
}
