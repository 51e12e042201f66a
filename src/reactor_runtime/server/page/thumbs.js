/**
 * Pads for thumbs: what to slide on where there is no keyboard. A car is steered with the left thumb and driven
 * with the right one; a walker has a stick for the way and one for the look.
 *
 * Each finger holds for itself, so that both thumbs count, and two fingers on one pad.
 */

import { el } from "./dom.js";
import { Stick } from "./stick.js";

/**
 * @typedef {import("./keys.js").Pad} Pad
 * @typedef {import("./keys.js").Compass} Compass
 * @typedef {import("./keys.js").Direction} Direction
 * @typedef {{field: string, side: "left" | "right", shape: import("./stick.js").Shape, compass: Compass}} Thumb
 */

/** Of half a pad: along a line the middle is only a border, on a stick it is where a thumb rests. */
const LINE_DEAD_ZONE = 0.08;
const STICK_DEAD_ZONE = 0.28;
const DRIVEN = /\b(faster|slower|throttle|accelerate|gas|brake|speed)/i;
/** @type {Record<Direction, string>} */
const SIGNS = { up: "▲", left: "◀", down: "▼", right: "▶" };

/**
 * The pads for two thumbs. Pure.
 * @param {Pad[]} pads
 * @param {import("./keys.js").Also | null} also
 * @returns {Thumb[]}
 */
export function thumbsOf(pads, also) {
  const moves = pads.find((pad) => pad.arrows);
  if (!moves) return [];
  const looks = pads.find((pad) => pad !== moves && Object.keys(pad.compass).length > 0);
  const { up, left, down, right } = moves.compass;
  const line = { across: { left, right }, upright: { up, down } };
  const takes = (/** @type {Pad} */ pad) => Object.values(pad.compass).every((letter) => also?.letters.includes(letter));
  const driven = !looks || Object.values(moves.meaning).some((word) => DRIVEN.test(word));
  if (driven && takes(moves) && isBoth(moves.compass))
    return [
      { field: moves.field, side: "left", shape: "across", compass: line.across },
      { field: moves.field, side: "right", shape: "upright", compass: line.upright },
    ];
  /** @type {Thumb[]} */
  const thumbs = [{ field: moves.field, side: "left", shape: shapeOf(moves.compass, takes(moves)), compass: moves.compass }];
  if (looks)
    thumbs.push({ field: looks.field, side: "right", shape: shapeOf(looks.compass, takes(looks)), compass: looks.compass });
  return thumbs;
}

/** @param {Compass} compass */
const isBoth = ({ up, left, down, right }) => Boolean((up ?? down) && (left ?? right));

/**
 * @param {Compass} compass
 * @param {boolean} diagonals
 * @returns {Thumb["shape"]}
 */
function shapeOf(compass, diagonals) {
  if (isBoth(compass)) return diagonals ? "eight" : "four";
  return (compass.left ?? compass.right) ? "across" : "upright";
}

/**
 * @param {import("./keypad.js").Keypad} keypad
 * @param {Thumb} thumb
 */
export function makeThumb(keypad, { field, side, shape, compass }) {
  const meaning = keypad.pads.find((pad) => pad.field === field)?.meaning ?? {};
  const ways = /** @type {[Direction, string][]} */ (Object.entries(compass)).filter(([, letter]) => letter);
  const buttons = ways.map(([way, letter]) => {
    const word = meaning[letter] ?? way;
    const button = el(
      "button",
      { type: "button", class: "way", data: { way, testid: `thumb-${keypad.name}.${field}-${letter}` } },
      el("span", { class: "sign", "aria-hidden": "true" }, SIGNS[way]),
      el("span", { class: "word" }, word),
    );
    keypad.addKey(button, { field, letter });
    return button;
  });
  const nub = el("i", { class: "nub", "aria-hidden": "true" });
  const pad = el(
    "div",
    {
      class: "thumb",
      role: "group",
      "aria-label": ways.map(([way, letter]) => meaning[letter] ?? way).join(", "),
      data: { side, shape, testid: `thumb-${keypad.name}.${field}-${side}` },
    },
    buttons,
    nub,
  );
  slide(pad, (pointerId) => {
    const round = shape === "four" || shape === "eight";
    const stick = new Stick(shape, round ? STICK_DEAD_ZONE : LINE_DEAD_ZONE);
    const source = `finger ${pointerId}`;
    return {
      move: (x, y) => {
        const letters = stick.at(x, y).flatMap((way) => compass[way] ?? []);
        keypad.hold(source, letters.map((letter) => ({ field, letter })));
        const far = Math.max(1, Math.hypot(shape === "upright" ? 0 : x, shape === "across" ? 0 : y));
        nub.style.setProperty("--x", String(shape === "upright" ? 0 : x / far));
        nub.style.setProperty("--y", String(shape === "across" ? 0 : y / far));
        pad.classList.add("slid");
      },
      end: () => {
        keypad.hold(source, []);
        pad.classList.remove("slid");
      },
    };
  });
  return pad;
}

/**
 * Follow each finger from where it goes down on `pad` until it is lifted, also beyond the pad's edge. Places
 * are measured from the middle, 1 at the edges.
 * @param {HTMLElement} pad
 * @param {(pointerId: number) => {move: (x: number, y: number) => void, end: () => void}} begin
 */
function slide(pad, begin) {
  /** @type {Map<number, ReturnType<typeof begin>>} */
  const fingers = new Map();
  /** @param {PointerEvent} event */
  const move = (event) => {
    const { left, top, width, height } = pad.getBoundingClientRect();
    const x = (event.clientX - left) / (width / 2) - 1;
    const y = (event.clientY - top) / (height / 2) - 1;
    fingers.get(event.pointerId)?.move(x, y);
  };
  pad.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    pad.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, begin(event.pointerId));
    move(event);
  });
  pad.addEventListener("pointermove", move);
  for (const type of ["pointerup", "pointercancel", "lostpointercapture"])
    pad.addEventListener(type, (event) => {
      const { pointerId } = /** @type {PointerEvent} */ (event);
      fingers.get(pointerId)?.end();
      fingers.delete(pointerId);
    });
  pad.addEventListener("contextmenu", (event) => event.preventDefault());
  // A press takes the focus from nothing.
  pad.addEventListener("mousedown", (event) => event.preventDefault());
}
