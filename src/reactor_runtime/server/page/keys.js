/**
 * Key bindings for commands whose parameters are single-letter choices, such as W A S D. Pure.
 *
 * Directions lie under the hand: they are bound to the places that they have on a QWERTY keyboard, whatever
 * is printed there. Other letters are bound to what is printed, and to their place on a keyboard that does
 * not print Latin letters. The arrow keys are directions too, of one pad of a command.
 *
 * What is held is in `held.js`.
 */

/**
 * @typedef {{key: string, code: string}} Stroke what a KeyboardEvent says; code "" where there is no keyboard
 * @typedef {{letter: string, row: number, column: number}} Key
 * @typedef {"up" | "left" | "down" | "right"} Direction
 * @typedef {Partial<Record<Direction, string>>} Compass the letter of each direction
 * @typedef {{field: string, label: string, letters: string[], meaning: Record<string, string>, neutral: string | null,
 *   positional: boolean, compass: Compass, looks: boolean, arrows: boolean, keys: Key[]}} Pad `looks`: it
 *   turns the view; `arrows`: the arrow keys are its directions
 * @typedef {{field: string, letters: string[], max: number}} Also the list that takes what is held besides
 * @typedef {import("./schema.js").Field} Field
 * @typedef {import("./schema.js").Command} Command
 */

const NEUTRAL_WORD = /^(none|no|neutral|nothing|idle|stop|still|off|no[- ]?op|no[- ]?action|release[ds]?)$/i;
/** Sets of keys that are all directions, so that none of them means "nothing": up, left, down, right. */
const DIRECTIONS = ["wasd", "ijkl", "khjl", "esdf", "8426"];
/** @type {Direction[]} */
const WAYS = ["up", "left", "down", "right"];
/** @type {Record<string, Direction>} */
const ARROWS = { ArrowUp: "up", ArrowLeft: "left", ArrowDown: "down", ArrowRight: "right" };
const LOOKS = /(^|_)(look|mouse|camera|view|aim)(_|$)/i;
const LOOKS_IN_WORDS = /^\W*(look|mouse)\b/i;
/** Physical neighbours, so that a keypad on the screen looks like the keyboard under the hand. */
const ROWS = ["1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm"];

/**
 * What a description says the letters mean: "W=forward, Q=none" or "W up, A left" → {W: "forward", Q:
 * "none"}.
 * @param {string} description
 * @param {string[]} letters
 */
export function meanings(description, letters) {
  /** @type {Record<string, string>} */
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
  return listed.every((word) => word !== undefined)
    ? Object.fromEntries(letters.map((letter, index) => [letter, listed[index]]))
    : {};
}

/**
 * The pad of one field, or null when its choices are not all single letters or digits. `neutral` is what
 * letting go returns to; null when there is no such choice, and then letting go says nothing.
 * @param {Field} field
 * @returns {Pad | null}
 */
export function padOf(field, about = "") {
  if (field.kind !== "choice" || !field.choices || field.choices.length < 2) return null;
  const letters = field.choices.map((choice) => choice.value);
  if (!letters.every((value) => typeof value === "string" && /^[a-z0-9]$/i.test(value))) return null;
  if (new Set(letters.map((letter) => letter.toLowerCase())).size !== letters.length) return null;
  const own = meanings(field.description, letters);
  const meaning = Object.keys(own).length > 0 ? own : meanings(about, letters);
  const neutral = neutralOf(field, letters, meaning);
  const ways = letters.filter((letter) => letter !== neutral);
  const compass = isCompass(field.look) ? field.look : compassOf(ways, meaning);
  const named = LOOKS.test(field.name) || LOOKS_IN_WORDS.test(field.description);
  return {
    field: field.name,
    label: field.label,
    letters,
    meaning,
    neutral,
    positional: areDirections(ways),
    compass,
    looks: Object.keys(compass).length > 0 && (isCompass(field.look) || named),
    arrows: false,
    keys: letters.map((letter) => ({ letter, ...seat(letter) })),
  };
}

/**
 * Named by the description, else the default, else the last choice unless it is a direction like those before
 * it.
 * @param {Field} field
 * @param {string[]} letters
 * @param {Record<string, string>} meaning
 */
function neutralOf(field, letters, meaning) {
  const named = letters.find((letter) => NEUTRAL_WORD.test(meaning[letter] ?? ""));
  if (named) return named;
  if (letters.includes(field.default)) return field.default;
  const last = letters[letters.length - 1];
  return areDirections(letters) || meaning[last] ? null : last;
}

/** @param {string[]} letters */
const areDirections = (letters) => directionsOf(letters) !== undefined;

/** @param {string[]} letters */
function directionsOf(letters) {
  if (letters.length < 2) return undefined;
  return DIRECTIONS.find((set) => letters.every((letter) => set.includes(letter.toLowerCase())));
}

/**
 * Which of the letters stands for which direction: by where they lie on the keyboard, else by what the description
 * calls them.
 * @param {string[]} letters
 * @param {Record<string, string>} meaning
 * @returns {Compass}
 */
function compassOf(letters, meaning) {
  const set = directionsOf(letters);
  /** @param {string} letter */
  const wayOf = (letter) =>
    set ? WAYS[set.indexOf(letter.toLowerCase())] : WAYS.find((way) => way === meaning[letter]?.toLowerCase());
  return Object.fromEntries(letters.map((letter) => [wayOf(letter), letter]).filter(([way]) => way));
}

/**
 * @param {Field["look"]} look
 * @returns {look is Compass}
 */
const isCompass = (look) => typeof look === "object" && look !== null;

/**
 * The pads of a command; empty when it has none. The arrow keys go to the pad that moves rather than looks.
 * @param {Command} command
 * @returns {Pad[]}
 */
export function padsOf(command) {
  const pads = command.fields.flatMap((field) => padOf(field, command.description) ?? []);
  const directed = pads.filter((pad) => Object.keys(pad.compass).length > 0);
  const moves = directed.find((pad) => !pad.looks) ?? directed[0];
  if (moves) moves.arrows = true;
  return pads;
}

/**
 * The list of a command that takes the keys held besides those chosen: one whose items are letters of the
 * pads, so that W with A goes forward and to the left. Null when there is none.
 * @param {Command} command
 * @param {Pad[]} pads
 * @returns {Also | null}
 */
export function alsoOf(command, pads) {
  const known = new Set(pads.flatMap((pad) => pad.letters));
  const declared = command.fields.filter(({ alsoHeld }) => alsoHeld);
  for (const { kind, name, item, maxItems } of declared.length > 0 ? declared : command.fields) {
    if (kind !== "list" || item?.kind !== "choice") continue;
    const letters = (item.choices ?? []).map((choice) => choice.value);
    if (letters.length > 0 && letters.every((letter) => typeof letter === "string" && known.has(letter)))
      return { field: name, letters: /** @type {string[]} */ (letters), max: maxItems ?? letters.length };
  }
  return null;
}

/**
 * The letter of a pad that a key stands for, or undefined.
 * @param {Pad} pad
 * @param {Stroke} stroke
 */
export function letterOf(pad, { key, code }) {
  if (pad.arrows && isArrow(key)) return pad.compass[ARROWS[key]];
  const printed = find(pad, key);
  const place = find(pad, placeOf(code));
  if (pad.positional) return place ?? printed;
  return printed ?? (isLatin(key) ? undefined : place);
}

/**
 * What QWERTY has at this place of the keyboard: "KeyW" → "w", "Digit1" → "1"; "" for other places.
 * @param {string} code
 */
export function placeOf(code) {
  return /^(?:Key|Digit)([A-Z0-9])$/.exec(code)?.[1].toLowerCase() ?? "";
}

/**
 * Whether a key prints one of the letters and digits that commands are made of.
 * @param {string} key
 */
export const isLatin = (key) => /^[a-z0-9]$/i.test(key);

/** @param {string} key */
export const isArrow = (key) => key in ARROWS;

/**
 * @param {Pad} pad
 * @param {string} name
 */
function find(pad, name) {
  return pad.letters.find((letter) => letter.toLowerCase() === name.toLowerCase());
}

/** @param {string} letter */
function seat(letter) {
  const row = ROWS.findIndex((keys) => keys.includes(letter.toLowerCase()));
  return { row, column: ROWS[row].indexOf(letter.toLowerCase()) };
}

/**
 * Whether a key belongs to the element under the cursor and must not be taken from it.
 * @param {unknown} target
 */
export function isTyping(target) {
  if (!(target instanceof Element)) return false;
  if (target.closest("textarea, select, [contenteditable=''], [contenteditable='true'], dialog")) return true;
  const input = target.closest("input");
  return (
    input !== null &&
    !["checkbox", "radio", "range", "button", "submit", "file", "color"].includes(input.type)
  );
}

/**
 * Whether the arrow keys move something in this element: a slider, a row of choices.
 * @param {unknown} target
 */
export const movesByArrows = (target) =>
  target instanceof Element && target.closest("input[type='range'], input[type='radio']") !== null;
