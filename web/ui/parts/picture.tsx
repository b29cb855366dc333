import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { GroupPicture } from "../../groups_api.ts";
import { sizeOf } from "./size.ts";

/** The most pixels on a side: a few bytes can ask for gigabytes of them. */
const MOST_PIXELS = 1024;

/** A picture that a member has made, or what stands in its place. It is nothing but an image to the browser. */
export function Picture({ picture, instead }: { readonly picture: GroupPicture; readonly instead: ComponentChildren }) {
  const [url, setUrl] = useState<string | null>(null);
  useEffect(() => {
    const size = sizeOf(picture.data);
    if (size === null || size.width > MOST_PIXELS || size.height > MOST_PIXELS) {
      setUrl(null);
      return undefined;
    }
    const made = URL.createObjectURL(new Blob([picture.data.slice()], { type: picture.type }));
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [picture.name]);
  return <>{url === null ? instead : <img src={url} alt="" onError={() => setUrl(null)} />}</>;
}
