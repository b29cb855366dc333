// Draws the icons of the page: ui/icons/*.png, from the same shapes as ui/icons/phantom.svg. Run by hand after a change;
// what it made is committed, as compressed bytes differ from one zlib to another.
import { writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { crc32, deflateSync } from "node:zlib";

const here = dirname(fileURLToPath(import.meta.url));
const GROUND = [0x5b, 0x4b, 0xc4];
const BODY = [0xff, 0xff, 0xff];
const EYES = [0x2b, 0x24, 0x50];
const SAMPLES = 4;

/** Whether a point of the drawing (100 x 100) lies in the ghost: a dome, straight sides, three waves below. */
function inBody(x, y) {
  if (x < 28 || x > 72) return false;
  if (y < 46) return (x - 50) ** 2 + (y - 46) ** 2 <= 22 ** 2;
  return y <= 73 + 4.5 * Math.cos(((x - 28) / 44) * 6 * Math.PI);
}

const inEyes = (x, y) =>
  [42, 58].some((middle) => ((x - middle) / 3.4) ** 2 + ((y - 45) / 4.6) ** 2 <= 1);

function inGround(x, y, corner) {
  const dx = Math.max(corner - x, x - (100 - corner), 0);
  const dy = Math.max(corner - y, y - (100 - corner), 0);
  return dx * dx + dy * dy <= corner * corner;
}

function colourAt(x, y, corner, scale) {
  if (!inGround(x, y, corner)) return null;
  const [u, v] = [50 + (x - 50) / scale, 50 + (y - 50) / scale];
  if (inEyes(u, v)) return EYES;
  return inBody(u, v) ? BODY : GROUND;
}

/** One pixel from several points of it: red, green, blue, alpha. */
function pixel(column, row, size, corner, scale) {
  const sum = [0, 0, 0];
  let hits = 0;
  for (let i = 0; i < SAMPLES * SAMPLES; i++) {
    const x = ((column + ((i % SAMPLES) + 0.5) / SAMPLES) / size) * 100;
    const y = ((row + (Math.floor(i / SAMPLES) + 0.5) / SAMPLES) / size) * 100;
    const colour = colourAt(x, y, corner, scale);
    if (colour === null) continue;
    hits += 1;
    for (let c = 0; c < 3; c++) sum[c] += colour[c];
  }
  return hits === 0 ? [0, 0, 0, 0] : [...sum.map((value) => Math.round(value / hits)), Math.round((hits * 255) / SAMPLES ** 2)];
}

function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, sum]);
}

function png(size, corner, scale) {
  const rows = Buffer.alloc(size * (size * 4 + 1));
  for (let row = 0, at = 0; row < size; row++) {
    at += 1; // each row begins with its filter: none
    for (let column = 0; column < size; column++) for (const value of pixel(column, row, size, corner, scale)) rows[at++] = value;
  }
  const head = Buffer.alloc(13);
  head.writeUInt32BE(size, 0);
  head.writeUInt32BE(size, 4);
  head.set([8, 6, 0, 0, 0], 8);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, chunk("IHDR", head), chunk("IDAT", deflateSync(rows, { level: 9 })), chunk("IEND", Buffer.alloc(0))]);
}

const icons = [
  ["icon-192.png", 192, 22, 1],
  ["icon-512.png", 512, 22, 1],
  ["maskable-512.png", 512, 0, 0.9],
  ["touch-180.png", 180, 0, 1],
];
for (const [name, size, corner, scale] of icons) await writeFile(join(here, "ui", "icons", name), png(size, corner, scale));
