/**
 * The keys of one command: what is held, by whatever hand, and the keys on the screen, laid out as on the
 * keyboard. The command is sent whenever what is held changes.
 */

import { el } from "./dom.js";
import { HeldKeys } from "./held.js";
import { alsoOf, isLatin } from "./keys.js";

/**
 * @typedef {import("./keys.js").Pad} Pad
 * @typedef {import("./keys.js").Stroke} Stroke
 * @typedef {import("./held.js").Letter} Letter
 */

export class Keypad {
  /**
   * @param {import("./schema.js").Command} command
   * @param {Pad[]} pads
   * @param {() => void} onChange
   */
  constructor(command, pads, onChange) {
    this.name = command.name;
    this.pads = pads;
    this.held = new HeldKeys(pads, alsoOf(command, pads));
    this.onChange = onChange;
    this.enabled = false;
    /** @type {Record<string, unknown>} What was said when the connection went, if keys were held then. */
    this.owes = {};
    /** @type {Record<string, unknown>} What the model was told last. */
    this.model = {};
    /** @type {Map<HTMLButtonElement, Letter>} */
    this.keys = new Map();
    /** @type {Map<string, HTMLElement>} The keys of each pad, by its field. */
    this.grids = new Map(pads.map((pad) => [pad.field, this.grid(pad)]));
    this.element = el("div", { class: "keypad", data: { testid: `keypad-${command.name}` } }, [
      ...this.grids.values(),
    ]);
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
    for (const button of this.keys.keys()) button.disabled = !enabled;
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

  /**
   * This source, such as a finger, holds these letters from now on and no others.
   * @param {string} source
   * @param {Letter[]} letters
   */
  hold(source, letters) {
    if (this.enabled) this.update(this.held.hold(source, letters));
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
   * @param {string} field
   * @param {string} letter
   */
  has(field, letter) {
    const neutral = this.pads.find((pad) => pad.field === field)?.neutral ?? letter;
    if (letter === neutral) return false;
    const also = this.held.also && this.model[this.held.also.field];
    return this.model[field] === letter || (Array.isArray(also) && also.includes(letter));
  }

  render() {
    for (const [button, { field, letter }] of this.keys) {
      const own = this.held.holds(field, letter);
      button.setAttribute("aria-pressed", String(own));
      button.dataset.elsewhere = String(!own && this.has(field, letter));
    }
  }

  /**
   * Make a button one of the keys: lit while its letter is held, and held with Enter and Space. What presses it
   * without a pointer or a key, as a voice does, holds it until the next press.
   * @param {HTMLButtonElement} button
   * @param {Letter} letter
   */
  addKey(button, letter) {
    this.keys.set(button, letter);
    button.disabled = !this.enabled;
    button.setAttribute("aria-pressed", "false");
    const source = `button ${letter.field} ${letter.letter}`;
    const isHeld = () => this.held.held.some((held) => held.source === source);
    button.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      if (!event.repeat) this.hold(source, [letter]);
    });
    button.addEventListener("keyup", (event) => {
      if (event.key === "Enter" || event.key === " ") this.hold(source, []);
    });
    button.addEventListener("click", ({ detail }) => {
      if (detail === 0) this.hold(source, isHeld() ? [] : [letter]);
    });
    button.addEventListener("blur", () => this.hold(source, []));
  }

  /** Where the browser knows what is printed on the keys, those bound to a place show that. */
  async relabel() {
    const keyboard = /** @type {any} */ (navigator).keyboard;
    /** @type {Map<string, string> | undefined} */
    const printed = await keyboard?.getLayoutMap?.().catch(() => undefined);
    const placed = new Set(this.pads.filter(({ positional }) => positional).map((pad) => pad.field));
    for (const [button, { field, letter }] of this.keys) {
      const label = placed.has(field) ? (printed?.get(`Key${letter.toUpperCase()}`) ?? "") : "";
      const cap = button.querySelector("kbd");
      if (cap && isLatin(label)) cap.textContent = label.toUpperCase();
    }
  }

  /**
   * Rows and columns are the keyboard's, cropped to the keys there are.
   * @param {Pad} pad
   */
  grid(pad) {
    const top = Math.min(...pad.keys.map((key) => key.row));
    const left = Math.min(...pad.keys.map((key) => key.column));
    const grid = el("div", { class: "keys", role: "group", "aria-label": pad.label });
    for (const key of pad.keys) {
      const meaning = pad.meaning[key.letter] ?? "";
      const button = el(
        "button",
        {
          type: "button",
          class: `key${key.letter === pad.neutral ? " neutral" : ""}`,
          data: { testid: `key-${this.name}.${pad.field}-${key.letter}` },
        },
        el("kbd", {}, key.letter.toUpperCase()),
        meaning ? el("span", {}, meaning) : null,
      );
      button.style.gridRow = String(key.row - top + 1);
      button.style.gridColumn = String(key.column - left + 1);
      this.addKey(button, { field: pad.field, letter: key.letter });
      this.holdByPointer(button, { field: pad.field, letter: key.letter });
      grid.append(button);
    }
    return el("div", { class: "pad" }, el("p", { class: "label" }, pad.label), grid);
  }

  /**
   * @param {HTMLButtonElement} button
   * @param {Letter} letter
   */
  holdByPointer(button, letter) {
    button.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      button.setPointerCapture(event.pointerId);
      this.hold(`pointer ${event.pointerId}`, [letter]);
    });
    for (const type of ["pointerup", "pointercancel", "lostpointercapture"])
      button.addEventListener(type, (event) =>
        this.hold(`pointer ${/** @type {PointerEvent} */ (event).pointerId}`, []),
      );
    button.addEventListener("contextmenu", (event) => event.preventDefault());
    // A press takes the focus from nothing.
    button.addEventListener("mousedown", (event) => event.preventDefault());
  }
}
