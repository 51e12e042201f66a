/**
 * Many commands in one panel: those of a group stand together and can be folded away, and beyond a dozen a field
 * finds what one looks for.
 */

import { announce } from "./announcer.js";
import { el } from "./dom.js";

/** So many are seen at a glance. */
const MANY = 12;

/** @typedef {{element: HTMLElement, words: string}} Found what is hidden or shown, and what it is found by */

/**
 * A field that hides what does not match, or nothing where there is little to find.
 * @param {Found[]} entries
 * @param {() => HTMLElement[]} frames what is hidden with all that it holds
 */
export function finder(entries, frames) {
  if (entries.length <= MANY) return null;
  const input = el("input", {
    type: "search",
    dir: "auto",
    placeholder: `Find one of ${entries.length} commands`,
    "aria-label": "Find a command",
    autocomplete: "off",
    spellcheck: false,
    data: { testid: "find" },
  });
  const none = el("p", { class: "empty", hidden: true }, "No command is called that.");
  const look = () => {
    const wanted = input.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    // What is on the picture instead is seen there.
    for (const { element, words } of entries.filter((entry) => entry.element.isConnected)) {
      element.hidden = !wanted.every((word) => words.includes(word));
      if (!element.hidden) count += 1;
    }
    for (const frame of frames()) frame.hidden = !entries.some((one) => !one.element.hidden && frame.contains(one.element));
    none.hidden = count > 0;
    if (wanted.length > 0) announce(count === 1 ? "One command." : `${count} commands.`);
  };
  input.addEventListener("input", look);
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !input.value) return;
    // The first press empties the field, the next leaves it.
    event.stopPropagation();
    input.value = "";
    look();
  });
  return el("search", { class: "finder" }, input, none);
}

/**
 * A group that can be folded away.
 * @param {string} title
 * @param {HTMLElement[]} elements
 */
export function group(title, elements) {
  return el(
    "details",
    { class: "command-group", open: true, data: { testid: `group-${title}` } },
    el("summary", {}, el("h3", { dir: "auto" }, title)),
    elements,
  );
}
