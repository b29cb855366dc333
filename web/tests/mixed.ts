/** Bytes that are neither all alike nor all different, the same in each run. */
export function mixed(size: number, alphabet: number): Uint8Array {
  let state = 12_345;
  return Uint8Array.from({ length: size }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 16) % alphabet;
  });
}
