/** Handing a file to the person at the page. */

import { el } from "./dom.js";

const KEPT_MS = 10_000;

/**
 * Save `blob` under the model's name and the time.
 * @param {Blob} blob
 * @param {string} modelName
 * @param {string} extension
 */
export function save(blob, modelName, extension) {
  const stamp = new Date().toISOString().slice(0, 19).replace(/[T:]/g, "-");
  const name = (modelName || "frame").replace(/[^\w.-]+/g, "-");
  const link = el("a", { href: URL.createObjectURL(blob), download: `${name}-${stamp}.${extension}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT_MS);
}
