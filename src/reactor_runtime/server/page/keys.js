/**
 * Key bindings for commands whose parameters are single-letter choices, such as W A S D. Pure.
 *
 * Holding semantics: a key down chooses its letter, letting go falls back to the letter still held, else to the
 * neutral choice. Several parameters combine, because each has its own stack of held keys.
 */

const NEUTRAL_WORD = /^(none|no|neutral|nothing|idle|stop|still|off|no[- ]?op|no[- ]?action|release[ds]?)$/i;
/** Physical neighbours, so that a keypad on the screen looks like the keyboard under the hand. */
const ROWS = ["1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm"];

/** What the description says a letter means: "W=forward, Q=none" → {W: "forward", Q: "none"}. */
export function meanings(description, letters) {
  const found = {};
  for (const letter of letters) {
    const escaped = letter.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    const match = new RegExp(`(?:^|[\\s,;:(])['"]?${escaped}['"]?\\s*(?:=|:|→|->)\\s*['"]?([^,;.)\\n'"]+)`).exec(description);
    if (match) found[letter] = match[1].trim();
  }
  return found;
}

/** The pad of one field, or null when its choices are not all single letters or digits. */
export function padOf(field) {
  if (field.kind !== "choice" || field.choices.length < 2) return null;
  const letters = field.choices.map((choice) => choice.value);
  if (!letters.every((value) => typeof value === "string" && /^[a-z0-9]$/i.test(value))) return null;
  if (new Set(letters.map((letter) => letter.toLowerCase())).size !== letters.length) return null;
  const meaning = meanings(field.description, letters);
  const neutral = letters.find((letter) => NEUTRAL_WORD.test(meaning[letter] ?? "")) ?? letters.at(-1);
  return { field: field.name, letters, meaning, neutral, keys: letters.map((letter) => ({ letter, ...place(letter) })) };
}

/** The pads of a command; empty when it has none. */
export function padsOf(command) {
  return command.fields.map(padOf).filter(Boolean);
}

function place(letter) {
  const row = ROWS.findIndex((keys) => keys.includes(letter.toLowerCase()));
  return { row, column: ROWS[row].indexOf(letter.toLowerCase()) };
}

/** Which letters of one command's pads are held down. */
export class HeldKeys {
  constructor(pads) {
    this.pads = pads;
    this.held = new Map(pads.map((pad) => [pad.field, []]));
  }

  /** Whether some pad has this key. */
  has(key) {
    return this.pads.some((pad) => letterOf(pad, key) !== undefined);
  }

  /** Hold a key. True when a choice changed by it. */
  press(key) {
    return this.change(key, (stack, letter) => (stack.includes(letter) ? stack : [...stack, letter]));
  }

  /** Let a key go. True when a choice changed by it. */
  release(key) {
    return this.change(key, (stack, letter) => stack.filter((other) => other !== letter));
  }

  /** Let everything go. True when a choice changed by it. */
  releaseAll() {
    const before = JSON.stringify(this.choices());
    for (const pad of this.pads) this.held.set(pad.field, []);
    return JSON.stringify(this.choices()) !== before;
  }

  /** The choice of every pad now: {field: letter}. */
  choices() {
    return Object.fromEntries(this.pads.map((pad) => [pad.field, this.held.get(pad.field).at(-1) ?? pad.neutral]));
  }

  change(key, next) {
    const before = JSON.stringify(this.choices());
    for (const pad of this.pads) {
      const letter = letterOf(pad, key);
      if (letter !== undefined) this.held.set(pad.field, next(this.held.get(pad.field), letter));
    }
    return JSON.stringify(this.choices()) !== before;
  }
}

function letterOf(pad, key) {
  return pad.letters.find((letter) => letter.toLowerCase() === key.toLowerCase());
}

/** Whether a key belongs to the element under the cursor and must not be taken from it. */
export function isTyping(target) {
  if (!(target instanceof Element)) return false;
  if (target.closest("textarea, select, [contenteditable=''], [contenteditable='true'], dialog")) return true;
  const input = target.closest("input");
  return input !== null && !["checkbox", "radio", "range", "button", "submit", "file", "color"].includes(input.type);
}
