/** What a screen reader is told: one polite line, and nothing twice. */

import { byId } from "./dom.js";

let said = "";

/** @param {string} text */
export function announce(text) {
  if (text === said) return;
  said = text;
  byId("announce").textContent = text;
}
