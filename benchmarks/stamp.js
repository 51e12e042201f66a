// Reads the stamp that examples/testcard/stamp.py draws; its docstring has the layout.
// `image` is a canvas's ImageData (or anything with width, height and RGBA data) of the frame's own size.

const ROWS = 3, COLUMNS = 24, CELL = 20, LEFT = 16, TOP = 16, MARGIN = 5;
const DARK_MAX = 112, BRIGHT_MIN = 144;
const TIME_MODULUS = 2 ** 32;

/** The part of the frame that holds the stamp, for getImageData(x, y, width, height). */
export const STAMP_AREA = { x: LEFT, y: TOP, width: COLUMNS * CELL, height: ROWS * CELL };

/** The stamp of a whole frame, or null: {timeEighths, frame, command}. */
export function readStamp(image) {
  return readAt(image, LEFT, TOP);
}

/** The stamp of an image that was cut out with STAMP_AREA, or null. */
export function readStampArea(image) {
  return readAt(image, 0, 0);
}

/** Milliseconds since the stamp was made; `wallMs` is performance.timeOrigin + performance.now(). */
export function stampAgeMs(stamp, wallMs) {
  const now = ((Math.floor(wallMs * 8) % TIME_MODULUS) + TIME_MODULUS) % TIME_MODULUS;
  const age = (now - stamp.timeEighths + TIME_MODULUS) % TIME_MODULUS;
  return (age < TIME_MODULUS / 2 ? age : age - TIME_MODULUS) / 8;
}

function readAt(image, left, top) {
  if (image.width < left + COLUMNS * CELL || image.height < top + ROWS * CELL) return null;
  const bytes = new Uint8Array(9);
  for (let cell = 0; cell < ROWS * COLUMNS; cell++) {
    const mean = cellMean(image, left + (cell % COLUMNS) * CELL, top + Math.floor(cell / COLUMNS) * CELL);
    if (mean > DARK_MAX && mean < BRIGHT_MIN) return null;
    if (mean >= BRIGHT_MIN) bytes[cell >> 3] |= 0x80 >> (cell & 7);
  }
  if (crc8(bytes.subarray(0, 8)) !== bytes[8]) return null;
  const view = new DataView(bytes.buffer);
  return { timeEighths: view.getUint32(0), frame: view.getUint16(4), command: view.getUint16(6) };
}

function cellMean(image, left, top) {
  let sum = 0;
  for (let y = top + MARGIN; y < top + CELL - MARGIN; y++) {
    for (let x = left + MARGIN; x < left + CELL - MARGIN; x++) {
      const at = 4 * (y * image.width + x);
      sum += image.data[at] + image.data[at + 1] + image.data[at + 2];
    }
  }
  return sum / (3 * (CELL - 2 * MARGIN) ** 2);
}

function crc8(bytes) {
  let crc = 0xff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x80 ? ((crc << 1) ^ 0x07) & 0xff : crc << 1;
  }
  return crc;
}
