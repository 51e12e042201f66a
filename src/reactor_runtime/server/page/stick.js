/**
 * Where a thumb, a stick or a drag points → which directions it holds. Pure.
 *
 * In the middle nothing is held. What is held stays a little beyond its border, so that a thumb at rest on the
 * border does not send a command with every tremble.
 */

/**
 * @typedef {import("./keys.js").Direction} Direction
 * @typedef {"across" | "upright" | "four" | "eight"} Shape along one line, or all around without or with diagonals
 */

const LINGER_DEGREES = 10;
const LINGER_SHARE = 0.7;

/** Clockwise from the right; y grows downwards. @type {Direction[][]} */
const FOUR = [["right"], ["down"], ["left"], ["up"]];
/** @type {Direction[][]} */
const EIGHT = [
  ["right"],
  ["right", "down"],
  ["down"],
  ["down", "left"],
  ["left"],
  ["left", "up"],
  ["up"],
  ["up", "right"],
];

export class Stick {
  /**
   * @param {Shape} shape
   * @param {number} deadZone how far from the middle nothing is held, of a whole way
   */
  constructor(shape, deadZone) {
    this.shape = shape;
    this.deadZone = deadZone;
    this.sectors = shape === "eight" ? EIGHT : FOUR;
    /** @type {number | null} Which sector is held. */
    this.sector = null;
  }

  /**
   * The directions held at a place, 0 in the middle and 1 a whole way off.
   * @param {number} x
   * @param {number} y
   * @returns {Direction[]}
   */
  at(x, y) {
    const across = this.shape === "upright" ? 0 : x;
    const upright = this.shape === "across" ? 0 : y;
    const zone = this.sector === null ? this.deadZone : this.deadZone * LINGER_SHARE;
    this.sector = Math.hypot(across, upright) < zone ? null : this.sectorAt(across, upright);
    return this.sector === null ? [] : this.sectors[this.sector];
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  sectorAt(x, y) {
    const wide = 360 / this.sectors.length;
    const degrees = (Math.atan2(y, x) * 180) / Math.PI;
    if (this.sector !== null) {
      const off = Math.abs(((degrees - this.sector * wide + 540) % 360) - 180);
      if (off < wide / 2 + LINGER_DEGREES) return this.sector;
    }
    return (Math.round(degrees / wide) + this.sectors.length) % this.sectors.length;
  }

  letGo() {
    this.sector = null;
  }
}
