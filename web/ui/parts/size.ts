/** How large a picture is, by what its first bytes say: before any of it is decoded. */

interface Size {
  readonly width: number;
  readonly height: number;
}

/** The size of a PNG, JPEG or WebP; null if it does not say it. */
export function sizeOf(data: Uint8Array): Size | null {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  try {
    if (view.getUint32(0) === 0x89504e47) return { width: view.getUint32(16), height: view.getUint32(20) };
    return view.getUint16(0) === 0xffd8 ? sizeOfJpeg(view) : sizeOfWebp(view);
  } catch {
    return null; // it ends before that
  }
}

function sizeOfJpeg(view: DataView): Size | null {
  let at = 2;
  while (view.getUint8(at) === 0xff) {
    const marker = view.getUint8(at + 1);
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return { width: view.getUint16(at + 7), height: view.getUint16(at + 5) };
    at += 2 + view.getUint16(at + 2);
  }
  return null;
}

function sizeOfWebp(view: DataView): Size | null {
  const small = (at: number) => view.getUint16(at, true);
  switch (view.getUint32(12)) {
    case 0x56503858: // "VP8X": two numbers of 24 bits, each less one
      return { width: 1 + small(24) + view.getUint8(26) * 0x10000, height: 1 + small(27) + view.getUint8(29) * 0x10000 };
    case 0x5650384c: // "VP8L": two of 14 bits, each less one
      return { width: 1 + (small(21) & 0x3fff), height: 1 + ((view.getUint32(21, true) >>> 14) & 0x3fff) };
    case 0x56503820: // "VP8 ": two of 14 bits
      return { width: small(26) & 0x3fff, height: small(28) & 0x3fff };
    default:
      return null;
  }
}
