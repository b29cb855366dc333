/** Ids of messages: UUIDs of version 4 (RFC 9562 section 5.4). */

/** A fresh id, made of 16 random bytes. */
export function newMessageId(random: (length: number) => Uint8Array): string {
  const bytes = random(16);
  const hex = Array.from(bytes, (byte, index) => {
    const set = index === 6 ? (byte & 0x0f) | 0x40 : index === 8 ? (byte & 0x3f) | 0x80 : byte;
    return set.toString(16).padStart(2, "0");
  }).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
