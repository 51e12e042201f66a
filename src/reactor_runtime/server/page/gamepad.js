/**
 * Gamepads: the left stick, the cross or the triggers move, the right stick looks. Asked once per picture of the
 * screen while one is connected, since the browser tells of no change.
 */

/**
 * @typedef {{x: number, y: number}} Place 1 is a whole way to the right or down
 * @typedef {{move: Place, look: Place}} Sticks
 */

const PRESSED = 0.3;
/** Numbers of the standard mapping (W3C Gamepad, "standard"). */
const TRIGGERS = { forward: 7, back: 6 };
const CROSS = { up: 12, down: 13, left: 14, right: 15 };

/** @type {Sticks} */
const STILL = { move: { x: 0, y: 0 }, look: { x: 0, y: 0 } };

/**
 * Where the sticks of a gamepad stand; of one that the browser does not know, the first stick only. Pure.
 * @param {{mapping: string, axes: readonly number[], buttons: readonly {value: number}[]}} gamepad
 * @returns {Sticks}
 */
export function sticksOf({ mapping, axes, buttons }) {
  const [x = 0, y = 0, lookX = 0, lookY = 0] = axes;
  if (mapping !== "standard") return { move: { x, y }, look: STILL.look };
  const pressed = (/** @type {number} */ index) => (buttons[index]?.value ?? 0) > PRESSED;
  /**
   * @param {number} stick
   * @param {boolean} less
   * @param {boolean} more
   */
  const axis = (stick, less, more) => (less === more ? stick : less ? -1 : 1);
  return {
    move: {
      x: axis(x, pressed(CROSS.left), pressed(CROSS.right)),
      y: axis(
        y,
        pressed(CROSS.up) || pressed(TRIGGERS.forward),
        pressed(CROSS.down) || pressed(TRIGGERS.back),
      ),
    },
    look: { x: lookX, y: lookY },
  };
}

export class Gamepads {
  /** @param {(sticks: Sticks) => void} onSticks */
  constructor(onSticks) {
    this.onSticks = onSticks;
    this.watching = false;
  }

  connected() {
    const all = [...(navigator.getGamepads?.() ?? [])].filter((pad) => pad?.connected);
    return all.find((pad) => pad?.mapping === "standard") ?? all[0] ?? null;
  }

  /** Ask until none is connected any more. */
  watch() {
    if (this.watching) return;
    this.watching = true;
    const look = () => {
      const gamepad = this.connected();
      this.watching = gamepad !== null;
      // Whoever looks elsewhere has let go.
      this.onSticks(gamepad && document.hasFocus() ? sticksOf(gamepad) : STILL);
      if (this.watching) requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  }
}
