/**
 * The keys of one command on the screen: laid out as on the keyboard, held with a finger, the mouse or the
 * keys. The command is sent whenever what is held changes.
 */

import { el } from "./dom.js";
import { HeldKeys } from "./held.js";
import { alsoOf, isLatin } from "./keys.js";

/**
 * @typedef {import("./keys.js").Pad} Pad
 * @typedef {import("./keys.js").Stroke} Stroke
 */

export class Keypad {
  /**
   * @param {import("./schema.js").Command} command
   * @param {Pad[]} pads
   * @param {() => void} onChange
   */
  constructor(command, pads, onChange) {
    this.pads = pads;
    this.held = new HeldKeys(pads, alsoOf(command, pads));
    this.onChange = onChange;
    this.enabled = false;
    /** @type {Record<string, unknown>} What was said when the connection went, if keys were held then. */
    this.owes = {};
    /** @type {Record<string, unknown>} What the model was told last. */
    this.model = {};
    /** @type {Map<string, HTMLButtonElement>} */
    this.buttons = new Map();
    this.element = el(
      "div",
      { class: "keypad", data: { testid: `keypad-${command.name}` } },
      pads.map((pad) => this.pad(pad, command.name)),
    );
    this.render();
    this.relabel();
  }

  /** The parameters that the keys fill. */
  get fields() {
    return [...this.pads.map((pad) => pad.field), ...(this.held.also ? [this.held.also.field] : [])];
  }

  /** @param {boolean} enabled */
  setEnabled(enabled) {
    if (this.enabled && !enabled && this.held.held.length > 0) this.owes = this.held.choices();
    this.enabled = enabled;
    this.held.releaseAll();
    this.model = {};
    for (const button of this.buttons.values()) button.disabled = !enabled;
    this.render();
  }

  /**
   * A key of the keyboard went down. True when it is ours.
   * @param {Stroke} stroke
   */
  press(stroke) {
    if (!this.enabled || !this.held.has(stroke)) return false;
    this.update(this.held.press(stroke));
    return true;
  }

  /** @param {Stroke} stroke */
  release(stroke) {
    this.update(this.held.release(stroke));
  }

  releaseAll() {
    this.update(this.held.releaseAll());
  }

  /** @param {boolean} changed */
  update(changed) {
    if (changed && this.enabled) {
      this.onChange();
      this.model = this.held.choices();
    }
    this.render();
  }

  /**
   * What the model was told last, by whomever: keys that somebody else holds are lit as well.
   * @param {Record<string, unknown>} values
   */
  follow(values) {
    this.model = values;
    this.render();
    const owed = Object.entries(this.owes).filter(([name]) => name in values);
    this.owes = {};
    // The connection went while keys were held, and nobody has said anything else since.
    const still = owed.every(([name, value]) => JSON.stringify(values[name]) === JSON.stringify(value));
    if (owed.length > 0 && still && this.enabled) this.onChange();
  }

  /** Say again what is held: the model has forgotten it. */
  again() {
    if (this.enabled && this.held.held.length > 0) this.onChange();
  }

  /**
   * Whether the model was told that this key is held.
   * @param {Pad} pad
   * @param {string} letter
   */
  has(pad, letter) {
    if (pad.neutral === null || letter === pad.neutral) return false;
    const also = this.held.also && this.model[this.held.also.field];
    return this.model[pad.field] === letter || (Array.isArray(also) && also.includes(letter));
  }

  render() {
    for (const pad of this.pads) {
      for (const letter of pad.letters) {
        const button = this.buttons.get(`${pad.field} ${letter}`);
        const own = this.held.holds(pad.field, letter);
        button?.setAttribute("aria-pressed", String(own));
        if (button) button.dataset.elsewhere = String(!own && this.has(pad, letter));
      }
    }
  }

  /** Where the browser knows what is printed on the keys, those bound to a place show that. */
  async relabel() {
    const keyboard = /** @type {any} */ (navigator).keyboard;
    /** @type {Map<string, string> | undefined} */
    const printed = await keyboard?.getLayoutMap?.().catch(() => undefined);
    for (const pad of this.pads.filter(({ positional }) => positional)) {
      for (const letter of pad.letters) {
        const label = printed?.get(`Key${letter.toUpperCase()}`) ?? "";
        const cap = this.buttons.get(`${pad.field} ${letter}`)?.querySelector("kbd");
        if (cap && isLatin(label)) cap.textContent = label.toUpperCase();
      }
    }
  }

  /**
   * Rows and columns are the keyboard's, cropped to the keys there are.
   * @param {Pad} pad
   * @param {string} command
   */
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

  /**
   * @param {HTMLButtonElement} button
   * @param {string} letter
   */
  hold(button, letter) {
    // Not a key of the keyboard: the same letter may be held there too.
    const stroke = { key: letter, code: `screen ${letter}` };
    button.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      button.setPointerCapture(event.pointerId);
      this.press(stroke);
    });
    for (const type of ["pointerup", "pointercancel", "lostpointercapture"])
      button.addEventListener(type, () => this.release(stroke));
    button.addEventListener("contextmenu", (event) => event.preventDefault());
    // A held Enter or Space on a focused key works as the key itself.
    button.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      if (!event.repeat) this.press(stroke);
    });
    button.addEventListener("keyup", (event) => {
      if (event.key === "Enter" || event.key === " ") this.release(stroke);
    });
    button.addEventListener("blur", () => this.release(stroke));
  }
}
