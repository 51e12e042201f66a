/**
 * Looking around with the mouse alone, at a desk: the pointer is locked into the picture, and what is looked with
 * follows how the mouse moves and springs back when it rests. The browser lets go of the pointer at Esc; the page
 * does where nobody could play on.
 *
 *   word on the picture ─press─▶ locked ─mousemove─▶ Swing ─each picture of the screen─▶ Look
 */

import { announce } from "./announcer.js";
import { el } from "./dom.js";

/** How far one moves the mouse for a whole turn, in the browser's pixels. */
const WAY_PX = 200;
/** A third of the way is left after this, once the mouse rests. */
const SPRING_MS = 110;
const STILL = 0.04;
const DEAD_ZONE = 0.2;
/** A browser that let go at Esc does not lock at once again. */
const REFUSED_MS = 2_000;
const SOURCE = "mouse";

const FREE = "Look with the mouse";
const LOCKED = "Esc frees the mouse";
const REFUSED = "Not yet: press again";

/** Where the mouse has pushed the look, 1 a whole way to the right or down. Pure. */
export class Swing {
  constructor() {
    this.x = 0;
    this.y = 0;
  }

  get isStill() {
    return this.x === 0 && this.y === 0;
  }

  /**
   * @param {number} x in pixels
   * @param {number} y
   */
  push(x, y) {
    this.x += x / WAY_PX;
    this.y += y / WAY_PX;
    const far = Math.max(1, Math.hypot(this.x, this.y));
    this.x /= far;
    this.y /= far;
  }

  /** @param {number} ms that have passed */
  spring(ms) {
    const left = Math.exp(-ms / SPRING_MS);
    this.x *= left;
    this.y *= left;
    if (Math.hypot(this.x, this.y) < STILL) this.x = this.y = 0;
  }
}

export class MouseLook {
  /**
   * @param {HTMLElement} screen
   * @param {() => import("./look.js").Look | null} look what is looked with now
   */
  constructor(screen, look) {
    this.screen = screen;
    this.look = look;
    this.swing = new Swing();
    this.button = el(
      "button",
      { type: "button", class: "mouse-look", data: { testid: "mouse-look" }, on: { click: () => this.lock() } },
      FREE,
    );
    if (!("requestPointerLock" in screen)) return;
    screen.append(el("div", { class: "mouse-looks" }, this.button));
    document.addEventListener("pointerlockchange", () => this.changed());
    document.addEventListener("pointerlockerror", () => this.refused());
    // A program that shows pages may leave that to them.
    addEventListener("keydown", ({ key }) => key === "Escape" && this.isLocked && document.exitPointerLock());
    document.addEventListener("mousemove", ({ movementX, movementY }) => {
      if (this.isLocked) this.swing.push(movementX, movementY);
    });
  }

  get isLocked() {
    return document.pointerLockElement === this.screen;
  }

  lock() {
    // What it may refuse is told by an event as well.
    Promise.resolve(this.screen.requestPointerLock()).catch(() => {});
  }

  changed() {
    document.body.dataset.mouse = this.isLocked ? "locked" : "free";
    this.button.textContent = this.isLocked ? LOCKED : FREE;
    if (!this.isLocked) {
      this.look()?.letGo(SOURCE);
      return;
    }
    announce(`The mouse looks around. ${LOCKED}.`);
    this.swing = new Swing();
    this.follow(performance.now());
  }

  /** @param {number} sinceMs when it was looked last */
  follow(sinceMs) {
    requestAnimationFrame((nowMs) => {
      if (!this.isLocked) return;
      // Who does not see the word could not know how to get out.
      if (this.button.getClientRects().length === 0 || document.querySelector("dialog[open]")) document.exitPointerLock();
      const { swing } = this;
      if (swing.isStill) this.look()?.letGo(SOURCE);
      else this.look()?.at(SOURCE, swing.x, swing.y, DEAD_ZONE);
      swing.spring(nowMs - sinceMs);
      this.follow(nowMs);
    });
  }

  refused() {
    this.button.textContent = REFUSED;
    setTimeout(() => !this.isLocked && (this.button.textContent = FREE), REFUSED_MS);
  }
}
