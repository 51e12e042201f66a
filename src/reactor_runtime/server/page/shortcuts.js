/**
 * Who gets a key: the field being typed in, else the model's keypads, else the page. A key that a model uses
 * is not the page's any more.
 */

import { el } from "./dom.js";
import { isArrow, isLatin, isTyping, movesByArrows, placeOf } from "./keys.js";

/** @typedef {import("./keypad.js").Keypad} Keypad */

export class Shortcuts {
  /**
   * `list` is the `dl` of the help.
   * @param {Record<string, {label: string, run: () => void}>} keys
   * @param {HTMLElement} list
   */
  constructor(keys, list) {
    this.keys = keys;
    this.list = list;
    /** @type {Keypad[]} */
    this.keypads = [];
    addEventListener("keydown", (event) => this.down(event));
    addEventListener("keyup", (event) => this.keypads.forEach((keypad) => keypad.release(event)));
    // Whoever looks elsewhere has let go.
    addEventListener("blur", () => this.releaseAll());
    document.addEventListener("visibilitychange", () => this.releaseAll());
    document.addEventListener("focusin", ({ target }) => isTyping(target) && this.releaseAll());
    this.describe();
  }

  /** @param {Keypad[]} keypads */
  setModelKeys(keypads) {
    this.keypads = keypads;
    this.describe();
  }

  /**
   * Keys of the page's own that come later.
   * @param {Record<string, {label: string, run: () => void}>} keys
   */
  add(keys) {
    Object.assign(this.keys, keys);
    this.describe();
  }

  /** @param {string[]} names */
  drop(names) {
    for (const name of names) delete this.keys[name];
    this.describe();
  }

  /** @param {KeyboardEvent} event */
  down(event) {
    const { target } = event;
    // Out of a text field and back to the model's keys.
    if (
      event.key === "Escape" &&
      target instanceof HTMLElement &&
      isTyping(target) &&
      !target.closest("dialog")
    )
      target.blur();
    // While Cmd is down, macOS tells of no key that is let go.
    if (event.key === "Meta") this.releaseAll();
    if (
      event.ctrlKey ||
      event.metaKey ||
      event.altKey ||
      event.isComposing ||
      event.defaultPrevented ||
      isTyping(event.target) ||
      (isArrow(event.key) && movesByArrows(event.target))
    )
      return;
    if (event.repeat) {
      if (this.taken(event)) event.preventDefault();
      return;
    }
    const pressed = this.keypads.filter((keypad) => keypad.press(event));
    if (pressed.length > 0) {
      event.preventDefault();
      return;
    }
    const own = this.taken(event) ? undefined : this.keys[nameOf(event)];
    if (!own) return;
    event.preventDefault();
    own.run();
  }

  releaseAll() {
    this.keypads.forEach((keypad) => keypad.releaseAll());
  }

  /** @param {import("./keys.js").Stroke} stroke */
  taken(stroke) {
    return this.keypads.some((keypad) => keypad.held.has(stroke));
  }

  describe() {
    const model = this.keypads.flatMap((keypad) =>
      keypad.pads.flatMap((pad) =>
        pad.letters.map((letter) => [letter, pad.meaning[letter] ?? pad.label]),
      ),
    );
    const page = Object.entries(this.keys)
      .filter(([key]) => !this.taken({ key, code: "" }))
      .map(([key, { label }]) => [key, label]);
    const arrows = this.keypads.some(({ pads }) => pads.some((pad) => pad.arrows));
    const moves = arrows ? [["← ↑ ↓ →", "The same as the direction keys"]] : [];
    const rows = [...model, ...moves, ...page].flatMap(([key, label]) => [
      el("dt", {}, el("kbd", {}, key.toUpperCase())),
      el("dd", {}, label),
    ]);
    this.list.replaceChildren(...rows);
  }
}

/**
 * The name of a key among the page's own: what is printed there, or for a keyboard without Latin letters what
 * QWERTY has at that place.
 * @param {import("./keys.js").Stroke} stroke
 */
function nameOf({ key, code }) {
  const printed = key.toLowerCase();
  return isLatin(printed) || printed === "?" ? printed : placeOf(code);
}
