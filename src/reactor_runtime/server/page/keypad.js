/**
 * The keys of one command on the screen: laid out as on the keyboard, held with a finger, the mouse or the
 * keys. The command is sent whenever what is held changes.
 */

import { el } from "./dom.js";
import { HeldKeys } from "./keys.js";

export class Keypad {
  constructor(command, pads, onChange) {
    this.pads = pads;
    this.held = new HeldKeys(pads);
    this.onChange = onChange;
    this.enabled = false;
    this.buttons = new Map();
    this.element = el(
      "div",
      { class: "keypad", data: { testid: `keypad-${command.name}` } },
      pads.map((pad) => this.pad(pad, command.name)),
    );
    this.render();
  }

  setEnabled(enabled) {
    this.enabled = enabled;
    this.held.releaseAll();
    for (const button of this.buttons.values()) button.disabled = !enabled;
    this.render();
  }

  /** A key of the keyboard went down. True when it is ours. */
  press(key) {
    if (!this.enabled || !this.held.has(key)) return false;
    this.update(this.held.press(key));
    return true;
  }

  release(key) {
    if (this.held.has(key)) this.update(this.held.release(key));
  }

  releaseAll() {
    this.update(this.held.releaseAll());
  }

  update(changed) {
    this.render();
    if (changed && this.enabled) this.onChange();
  }

  render() {
    for (const pad of this.pads) {
      for (const letter of pad.letters) {
        const button = this.buttons.get(`${pad.field} ${letter}`);
        button.setAttribute("aria-pressed", String(this.held.holds(pad.field, letter)));
      }
    }
  }

  /** Rows and columns are the keyboard's, cropped to the keys there are. */
  pad(pad, command) {
    const top = Math.min(...pad.keys.map((key) => key.row));
    const left = Math.min(...pad.keys.map((key) => key.column));
    const grid = el("div", { class: "keys", role: "group", "aria-label": pad.field.replace(/_/g, " ") });
    for (const key of pad.keys) {
      const meaning = pad.meaning[key.letter] ?? "";
      const button = el(
        "button",
        {
          type: "button",
          class: `key${key.letter === pad.neutral ? " neutral" : ""}`,
          "aria-pressed": "false",
          data: { testid: `key-${command}.${pad.field}-${key.letter}` },
        },
        el("kbd", {}, key.letter.toUpperCase()),
        meaning ? el("span", {}, meaning) : null,
      );
      button.style.gridRow = String(key.row - top + 1);
      button.style.gridColumn = String(key.column - left + 1);
      this.hold(button, key.letter);
      this.buttons.set(`${pad.field} ${key.letter}`, button);
      grid.append(button);
    }
    return el("div", { class: "pad" }, el("p", { class: "label" }, pad.field.replace(/_/g, " ")), grid);
  }

  hold(button, letter) {
    button.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      button.setPointerCapture(event.pointerId);
      this.press(letter);
    });
    for (const type of ["pointerup", "pointercancel", "lostpointercapture"])
      button.addEventListener(type, () => this.release(letter));
    button.addEventListener("contextmenu", (event) => event.preventDefault());
    // A held Enter or Space on a focused key works as the key itself.
    button.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      if (!event.repeat) this.press(letter);
    });
    button.addEventListener("keyup", (event) => {
      if (event.key === "Enter" || event.key === " ") this.release(letter);
    });
    button.addEventListener("blur", () => this.release(letter));
  }
}
