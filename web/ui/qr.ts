/** QR codes, drawn and read: a chunk of its own, loaded when the first one is shown or scanned. */
import encodeQR from "qr";
import decodeQR from "qr/decode.js";

/** The modules of a code, row by row, with the four light ones around it that readers need. */
export function modulesOf(text: string): boolean[][] {
  return encodeQR(text, "raw", { ecc: "medium", border: 4 });
}

/** What the code in a picture (RGBA) holds, null if there is none that can be read. */
export function readCode(picture: { width: number; height: number; data: Uint8ClampedArray }): string | null {
  try {
    return decodeQR(picture);
  } catch {
    return null;
  }
}
