/**
 * Which keys of one command's pads are held down, and what the command says then. Pure.
 *
 * A key down chooses its letter; letting go falls back to the letter still held, else to the neutral choice.
 * Several pads combine, because each chooses for itself. What is held besides goes into the command's list
 * for that, if it has one. Where there is no neutral choice, as in "push left", each key down is said and
 * letting go is not.
 */

import { letterOf } from "./keys.js";

/**
 * @typedef {import("./keys.js").Pad} Pad
 * @typedef {import("./keys.js").Stroke} Stroke
 * @typedef {{field: string, letter: string}} Letter
 */

export class HeldKeys {
  /**
   * @param {Pad[]} pads
   * @param {import("./keys.js").Also | null} [also]
   */
  constructor(pads, also = null) {
    this.pads = pads;
    this.also = also;
    /** @type {(Letter & {source: string})[]} In the order in which they went down. */
    this.held = [];
    /** @type {Map<string, string>} What each pad chose last. */
    this.last = new Map(pads.map((pad) => [pad.field, pad.neutral ?? pad.letters[pad.letters.length - 1]]));
  }

  /**
   * Whether some pad has this key.
   * @param {Stroke} stroke
   */
  has(stroke) {
    return this.meant(stroke).length > 0;
  }

  /**
   * Whether the command says that this letter of a pad is held.
   * @param {string} field
   * @param {string} letter
   */
  holds(field, letter) {
    if (!this.held.some((key) => key.field === field && key.letter === letter)) return false;
    return this.newest(field) === letter || this.besides().includes(letter);
  }

  /**
   * Hold a key. True when the command is to be sent.
   * @param {Stroke} stroke
   */
  press(stroke) {
    return this.hold(sourceOf(stroke), this.meant(stroke));
  }

  /**
   * Let a key go. True when the command is to be sent.
   * @param {Stroke} stroke
   */
  release(stroke) {
    return this.hold(sourceOf(stroke), []);
  }

  /**
   * From now on this source (a key, a finger, a stick) holds these letters and no others: a thumb that slides
   * from one to the next is one change. True when the command is to be sent.
   * @param {string} source
   * @param {Letter[]} letters
   */
  hold(source, letters) {
    return this.change(() => {
      const own = this.held.filter((key) => key.source === source);
      const kept = own.filter((key) => letters.some((letter) => isSame(letter, key)));
      const fresh = letters.filter((letter) => !kept.some((key) => isSame(letter, key)));
      this.held = this.held.filter((key) => key.source !== source || kept.includes(key));
      for (const letter of fresh) {
        this.held.push({ source, ...letter });
        this.last.set(letter.field, letter.letter);
      }
      // Without a neutral choice each press counts, also of the same key again.
      return fresh.some(({ field }) => this.pads.find((pad) => pad.field === field)?.neutral === null);
    });
  }

  /**
   * The letters that a key stands for, one of each pad that has it.
   * @param {Stroke} stroke
   * @returns {Letter[]}
   */
  meant(stroke) {
    return this.pads.flatMap((pad) => {
      const letter = letterOf(pad, stroke);
      return letter === undefined ? [] : { field: pad.field, letter };
    });
  }

  /** Let everything go. True when the command is to be sent. */
  releaseAll() {
    return this.change(() => {
      this.held = [];
      return false;
    });
  }

  /**
   * What the command says now: the choice of every pad, and what is held besides.
   * @returns {Record<string, string | string[]>}
   */
  choices() {
    /** @type {Record<string, string | string[]>} */
    const choices = Object.fromEntries(this.last);
    if (this.also) choices[this.also.field] = this.besides();
    return choices;
  }

  /** What the command says when all is let go; null where nothing is held, or letting go says nothing. */
  released() {
    const neutral = this.pads.flatMap((pad) => (pad.neutral === null ? [] : [[pad.field, pad.neutral]]));
    if (this.held.length === 0 || (neutral.length === 0 && !this.also)) return null;
    return { ...this.choices(), ...(this.also && { [this.also.field]: [] }), ...Object.fromEntries(neutral) };
  }

  /** The letters held that no pad chose, the newest first, as many as the list takes. */
  besides() {
    const { also } = this;
    if (!also) return [];
    const chosen = new Set(this.last.values());
    const letters = this.held.map((key) => key.letter).reverse();
    return [...new Set(letters)]
      .filter((letter) => also.letters.includes(letter) && !chosen.has(letter))
      .slice(0, also.max);
  }

  /** @param {string} field */
  newest(field) {
    return this.held.findLast((key) => key.field === field)?.letter;
  }

  /** @param {() => boolean} act returns whether it is to be said even if it changed no choice */
  change(act) {
    const before = JSON.stringify(this.choices());
    const counts = act();
    for (const pad of this.pads) {
      const letter = this.newest(pad.field) ?? pad.neutral;
      if (letter !== null) this.last.set(pad.field, letter);
    }
    return counts || JSON.stringify(this.choices()) !== before;
  }
}

/** @param {Stroke} stroke */
const sourceOf = ({ key, code }) => code || key.toLowerCase();

/**
 * @param {Letter} a
 * @param {Letter} b
 */
const isSame = (a, b) => a.field === b.field && a.letter === b.letter;
