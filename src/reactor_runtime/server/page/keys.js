/**
 * Key bindings for commands whose parameters are single-letter choices, such as W A S D. Pure.
 *
 * Holding semantics: a key down chooses its letter, letting go falls back to the letter still held, else to
 * the neutral choice. Several parameters combine, because each has its own stack of held keys. Where there is
 * no neutral choice, as in "push left", a key down is said once and letting go is not.
 */

const NEUTRAL_WORD = /^(none|no|neutral|nothing|idle|stop|still|off|no[- ]?op|no[- ]?action|release[ds]?)$/i;
/** Sets of keys that are all directions, so that none of them means "nothing". */
const DIRECTIONS = ["wasd", "ijkl", "hjkl", "esdf", "2468"];
/** Physical neighbours, so that a keypad on the screen looks like the keyboard under the hand. */
const ROWS = ["1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm"];

/**
 * What a description says the letters mean: "W=forward, Q=none" or "W up, A left" → {W: "forward", Q:
 * "none"}.
 */
export function meanings(description, letters) {
  const found = {};
  for (const letter of letters) {
    const match = new RegExp(
      `(?:^|[\\s,;:(])['"]?${letter}['"]?\\s*(?:=|:|→|->)\\s*['"]?([^,;.)\\n'"]+)`,
    ).exec(description);
    if (match) found[letter] = match[1].trim();
  }
  if (Object.keys(found).length > 0) return found;
  // Without a sign, only a list that has them all: "A" may be an article.
  const listed = letters.map((letter) =>
    new RegExp(`(?:^|[,;:(])\\s*${letter} ([^,;.)\\n]+)`).exec(description)?.[1].trim(),
  );
  return listed.every(Boolean)
    ? Object.fromEntries(letters.map((letter, index) => [letter, listed[index]]))
    : {};
}

/**
 * The pad of one field, or null when its choices are not all single letters or digits. `neutral` is what
 * letting go returns to; null when there is no such choice, and then letting go says nothing.
 */
export function padOf(field, about = "") {
  if (field.kind !== "choice" || field.choices.length < 2) return null;
  const letters = field.choices.map((choice) => choice.value);
  if (!letters.every((value) => typeof value === "string" && /^[a-z0-9]$/i.test(value))) return null;
  if (new Set(letters.map((letter) => letter.toLowerCase())).size !== letters.length) return null;
  const own = meanings(field.description, letters);
  const meaning = Object.keys(own).length > 0 ? own : meanings(about, letters);
  return {
    field: field.name,
    letters,
    meaning,
    neutral: neutralOf(field, letters, meaning),
    keys: letters.map((letter) => ({ letter, ...place(letter) })),
  };
}

/**
 * Named by the description, else the default, else the last choice unless it is a direction like those before
 * it.
 */
function neutralOf(field, letters, meaning) {
  const named = letters.find((letter) => NEUTRAL_WORD.test(meaning[letter] ?? ""));
  if (named) return named;
  if (letters.includes(field.default)) return field.default;
  const spelled = letters.join("").toLowerCase();
  const direction = DIRECTIONS.some(
    (set) => set.includes(spelled.at(-1)) && [...spelled].every((letter) => set.includes(letter)),
  );
  return direction || meaning[letters.at(-1)] ? null : letters.at(-1);
}

/** The pads of a command; empty when it has none. */
export function padsOf(command) {
  return command.fields.map((field) => padOf(field, command.description)).filter(Boolean);
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
    this.last = new Map(pads.map((pad) => [pad.field, pad.neutral ?? pad.letters.at(-1)]));
  }

  /** Whether some pad has this key. */
  has(key) {
    return this.pads.some((pad) => letterOf(pad, key) !== undefined);
  }

  /** Whether this letter of a pad is held down. */
  holds(field, letter) {
    return this.held.get(field).at(-1) === letter;
  }

  /** Hold a key. True when the command is to be sent. */
  press(key) {
    return this.change(key, (stack, letter) => (stack.includes(letter) ? stack : [...stack, letter]));
  }

  /** Let a key go. True when the command is to be sent. */
  release(key) {
    return this.change(key, (stack, letter) => stack.filter((other) => other !== letter));
  }

  /** Let everything go. True when the command is to be sent. */
  releaseAll() {
    const before = JSON.stringify(this.choices());
    for (const pad of this.pads) this.hold(pad, []);
    return JSON.stringify(this.choices()) !== before;
  }

  /** The choice of every pad now: {field: letter}. */
  choices() {
    return Object.fromEntries(this.last);
  }

  change(key, next) {
    let changed = false;
    for (const pad of this.pads) {
      const letter = letterOf(pad, key);
      if (letter === undefined) continue;
      const before = this.held.get(pad.field);
      const after = next(before, letter);
      if (after.length === before.length) continue;
      const choice = this.last.get(pad.field);
      this.hold(pad, after);
      // Without a neutral choice each press counts, also of the same key again.
      changed ||= pad.neutral === null ? after.length > before.length : this.last.get(pad.field) !== choice;
    }
    return changed;
  }

  hold(pad, stack) {
    this.held.set(pad.field, stack);
    this.last.set(pad.field, stack.at(-1) ?? pad.neutral ?? this.last.get(pad.field));
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
  return (
    input !== null &&
    !["checkbox", "radio", "range", "button", "submit", "file", "color"].includes(input.type)
  );
}
