/** A link as a QR code. Pure. */

import { encode } from "./uqr.js";

/** Cameras need so much white around it (ISO/IEC 18004). */
const QUIET = 4;

/**
 * The dark modules of the code as one path of an SVG, whose sides have `size` units.
 * @param {string} text
 */
export function qrPath(text) {
  /** @type {{size: number, data: boolean[][]}} */
  const { size, data } = encode(text, { ecc: "M", border: QUIET });
  const runs = data.flatMap((row, y) =>
    row.flatMap((dark, x) => {
      if (!dark || row[x - 1]) return [];
      const end = row.indexOf(false, x);
      return `M${x} ${y}h${end - x}v1h${x - end}z`;
    }),
  );
  return { size, path: runs.join("") };
}
