/**
 * Who gets a key: the field being typed in, else the model's keypads, else the page. A key that a model uses
 * is not the page's any more.
 */

import { el } from "./dom.js";
import { isTyping } from "./keys.js";

export class Shortcuts {
  /** `keys`: {key: {label, run}}. `list` is the `dl` of the help. */
  constructor(keys, list) {
    this.keys = keys;
    this.list = list;
    this.keypads = [];
    addEventListener("keydown", (event) => this.down(event));
    addEventListener("keyup", (event) => this.keypads.forEach((keypad) => keypad.release(event.key)));
    // Whoever looks elsewhere has let go.
    addEventListener("blur", () => this.releaseAll());
    document.addEventListener("visibilitychange", () => this.releaseAll());
    document.addEventListener("focusin", ({ target }) => isTyping(target) && this.releaseAll());
    this.describe();
  }

  setModelKeys(keypads) {
    this.keypads = keypads;
    this.describe();
  }

  down(event) {
    // Out of a text field and back to the model's keys.
    if (event.key === "Escape" && isTyping(event.target) && !event.target.closest("dialog"))
      event.target.blur();
    if (
      event.ctrlKey ||
      event.metaKey ||
      event.altKey ||
      event.isComposing ||
      event.defaultPrevented ||
      isTyping(event.target)
    )
      return;
    if (event.repeat) {
      if (this.taken(event.key)) event.preventDefault();
      return;
    }
    const pressed = this.keypads.filter((keypad) => keypad.press(event.key));
    if (pressed.length > 0) {
      event.preventDefault();
      return;
    }
    const own = this.taken(event.key) ? undefined : this.keys[event.key.toLowerCase()];
    if (!own) return;
    event.preventDefault();
    own.run();
  }

  releaseAll() {
    this.keypads.forEach((keypad) => keypad.releaseAll());
  }

  taken(key) {
    return this.keypads.some((keypad) => keypad.held.has(key));
  }

  describe() {
    const model = this.keypads.flatMap((keypad) =>
      keypad.pads.flatMap((pad) =>
        pad.letters.map((letter) => [letter, pad.meaning[letter] ?? pad.field.replace(/_/g, " ")]),
      ),
    );
    const page = Object.entries(this.keys)
      .filter(([key]) => !this.taken(key))
      .map(([key, { label }]) => [key, label]);
    const rows = [...model, ...page].flatMap(([key, label]) => [
      el("dt", {}, el("kbd", {}, key.toUpperCase())),
      el("dd", {}, label),
    ]);
    this.list.replaceChildren(...rows);
  }
}
