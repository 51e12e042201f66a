/**
 * Looking around: a drag over the picture, or a stick, moves what the model calls its look. That is letters held
 * while the pointer is away from where it went down, or numbers between their bounds, which spring back when it
 * is let go.
 */

import { Stick } from "./stick.js";

/**
 * @typedef {import("./keys.js").Pad} Pad
 * @typedef {import("./schema.js").Field} Field
 * @typedef {{x?: Field, y?: Field}} Axes
 */

/** How far one drags for a whole turn, of the picture's shorter side. */
const DRAG_SHARE = 0.3;
const DRAG_DEAD_ZONE = 0.2;
const PASSED_ON = "button, a, input, .thumb, .keys";

/**
 * The numbers of a command that a look moves; empty when it has none. Pure.
 * @param {import("./schema.js").Command} command
 * @returns {Axes}
 */
export function axesOf(command) {
  const bounded = command.fields.filter(({ min, max }) => typeof min === "number" && typeof max === "number");
  /** @param {string} axis */
  const named = (axis) => bounded.find(({ look }) => look === axis);
  return { x: named("x"), y: named("y") };
}

/**
 * A place between -1 and 1 as a value of a field: its default, or the middle, where nothing pulls. Pure.
 * @param {Field} field
 * @param {number} place
 */
export function valueAt(field, place) {
  const min = Number(field.min);
  const max = Number(field.max);
  const rest = typeof field.default === "number" ? field.default : (min + max) / 2;
  const share = Math.min(1, Math.max(-1, place));
  const value = rest + share * (share < 0 ? rest - min : max - rest);
  const step = field.step ?? 0.001;
  return Number((min + Math.round((value - min) / step) * step).toPrecision(12));
}

export class Look {
  /**
   * What is looked with from now on: the letters of a pad, the numbers of a command, or nothing.
   * @param {{keypad: import("./keypad.js").Keypad | null, pad: Pad | undefined,
   *   axes: Axes, turn: (values: Record<string, number>, rest: Record<string, number> | null) => void}} means
   */
  constructor({ keypad, pad, axes, turn }) {
    this.keypad = keypad;
    this.pad = pad;
    this.axes = axes;
    this.turn = turn;
    /** @type {Map<string, Stick>} Of each source that looks now. */
    this.sticks = new Map();
  }

  get offered() {
    return this.pad !== undefined || Boolean(this.axes.x ?? this.axes.y);
  }

  /**
   * Look this way, 1 a whole way to the right or down.
   * @param {string} source
   * @param {number} x
   * @param {number} y
   * @param {number} deadZone
   */
  at(source, x, y, deadZone) {
    const { keypad, pad, axes } = this;
    const stick = this.sticks.get(source) ?? new Stick(this.shape(), deadZone);
    this.sticks.set(source, stick);
    if (keypad && pad) {
      const letters = stick.at(x, y).flatMap((way) => pad.compass[way] ?? []);
      keypad.hold(source, letters.map((letter) => ({ field: pad.field, letter })));
    }
    if (axes.x ?? axes.y) this.turn(this.values(x, y), x || y ? this.values(0, 0) : null);
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  values(x, y) {
    const { axes } = this;
    /** @type {Record<string, number>} */
    const values = {};
    if (axes.x) values[axes.x.name] = valueAt(axes.x, x);
    if (axes.y) values[axes.y.name] = valueAt(axes.y, -y);
    return values;
  }

  shape() {
    const { keypad, pad } = this;
    const also = keypad?.held.also?.letters ?? [];
    return Object.values(pad?.compass ?? {}).every((letter) => also.includes(letter)) ? "eight" : "four";
  }

  /** @param {string} source */
  letGo(source) {
    if (!this.sticks.has(source)) return;
    this.at(source, 0, 0, 1);
    this.sticks.delete(source);
  }
}

/**
 * Let drags over `screen` look around, each from where it went down.
 * @param {HTMLElement} screen
 * @param {() => Look | null} look what is looked with when the drag begins
 */
export function dragToLook(screen, look) {
  /** @type {Map<number, {look: Look, x: number, y: number}>} */
  const drags = new Map();
  screen.addEventListener("pointerdown", (event) => {
    const now = look();
    if (document.pointerLockElement !== null || !now?.offered || event.button !== 0 || /** @type {Element} */ (event.target).closest(PASSED_ON)) return;
    screen.setPointerCapture(event.pointerId);
    drags.set(event.pointerId, { look: now, x: event.clientX, y: event.clientY });
  });
  screen.addEventListener("pointermove", ({ pointerId, clientX, clientY }) => {
    const drag = drags.get(pointerId);
    const way = DRAG_SHARE * Math.min(screen.clientWidth, screen.clientHeight);
    drag?.look.at(`drag ${pointerId}`, (clientX - drag.x) / way, (clientY - drag.y) / way, DRAG_DEAD_ZONE);
  });
  for (const type of ["pointerup", "pointercancel", "lostpointercapture"])
    screen.addEventListener(type, (event) => {
      const { pointerId } = /** @type {PointerEvent} */ (event);
      drags.get(pointerId)?.look.letGo(`drag ${pointerId}`);
      drags.delete(pointerId);
    });
}
