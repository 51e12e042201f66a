/**
 * The play surface: where a model is played with keys, they are on the picture. Keys for whoever has a keyboard
 * or a mouse, pads for thumbs, a drag, a locked mouse or a stick to look, a gamepad. What was used last decides which are shown.
 */

import { el } from "./dom.js";
import { isTyping } from "./keys.js";
import { Look, axesOf, dragToLook } from "./look.js";
import { Stick } from "./stick.js";
import { makeThumb, thumbsOf } from "./thumbs.js";

/** @typedef {import("./keypad.js").Keypad} Keypad */

const STICK_DEAD_ZONE = 0.3;
const CAPS = ".keys";
const AT_A_DESK = matchMedia("(hover: hover) and (pointer: fine)");

export class Play {
  /**
   * `surface` lies over the picture in `screen`.
   * @param {{screen: HTMLElement, surface: HTMLElement, onGamepad: () => void}} parts
   */
  constructor({ screen, surface, onGamepad }) {
    this.screen = screen;
    this.surface = surface;
    /** @type {Keypad | null} */
    this.keypad = null;
    /** @type {Look | null} */
    this.look = null;
    this.stick = new Stick("eight", STICK_DEAD_ZONE);
    /** @type {Promise<import("./gamepad.js").Gamepads> | null} */
    this.gamepads = null;
    /** @type {Promise<import("./mouselook.js").MouseLook> | null} */
    this.mouse = null;
    addEventListener("gamepadconnected", () => {
      if (this.keypad) onGamepad();
      this.watchGamepads();
    });
    if (navigator.getGamepads?.().some((gamepad) => gamepad?.connected)) this.watchGamepads();
    this.setHands(matchMedia("(pointer: coarse)").matches ? "thumbs" : "keys");
    screen.addEventListener("pointerdown", ({ pointerType, target }) => {
      if (isTyping(document.activeElement)) /** @type {HTMLElement} */ (document.activeElement).blur();
      if (pointerType === "touch" && !(/** @type {Element} */ (target).closest(CAPS))) this.setHands("thumbs");
    });
    addEventListener("keydown", (event) => {
      if (this.keypad?.held.has(event) && !isTyping(event.target)) this.setHands("keys");
    });
    dragToLook(screen, () => this.look);
  }

  /**
   * Put the keys of these commands on the picture: those of the first that has directions.
   * @param {import("./commands.js").Commands} commands
   */
  show(commands) {
    const keypad = commands.keypads.find(({ pads }) => pads.some((pad) => pad.arrows)) ?? null;
    const moves = keypad?.pads.find((pad) => pad.arrows);
    const looks = keypad?.pads.find((pad) => pad !== moves && Object.keys(pad.compass).length > 0);
    this.keypad = keypad;
    this.stick = new Stick(keypad?.held.also ? "eight" : "four", STICK_DEAD_ZONE);
    const card = [...commands.cards.values()].find(({ command }) => Object.values(axesOf(command)).some(Boolean));
    this.look = new Look({
      keypad,
      pad: looks ?? (moves?.looks ? moves : undefined),
      axes: card ? axesOf(card.command) : {},
      turn: (values, rest) => card?.turn(values, rest),
    });
    const grids = [moves, looks].map((pad) => pad && keypad?.grids.get(pad.field));
    this.surface.replaceChildren(
      el("div", { class: "caps" }, grids),
      el("div", { class: "thumbs" }, keypad && thumbsOf(keypad.pads, keypad.held.also).map((thumb) => makeThumb(keypad, thumb))),
    );
    if (keypad) commands.clearAway(keypad);
    document.body.dataset.played = String(keypad !== null);
    document.body.dataset.looks = String(this.look.offered);
    if (this.look.offered && AT_A_DESK.matches) this.offerMouse();
  }

  // Most have no gamepad and nothing to look with, so these come when they are needed; what did not come is asked for
  // again by the next who needs it.
  watchGamepads() {
    this.gamepads ??= import("./gamepad.js").then(({ Gamepads }) => new Gamepads((sticks) => this.follow(sticks)));
    this.gamepads.then((gamepads) => gamepads.watch()).catch(() => (this.gamepads = null));
  }

  offerMouse() {
    this.mouse ??= import("./mouselook.js").then(({ MouseLook }) => new MouseLook(this.screen, () => this.look));
    this.mouse.catch(() => (this.mouse = null));
  }

  /** @param {"keys" | "thumbs"} hands */
  setHands(hands) {
    document.body.dataset.hands = hands;
  }

  /** @param {import("./gamepad.js").Sticks} sticks */
  follow({ move, look }) {
    const { keypad } = this;
    const pad = keypad?.pads.find(({ arrows }) => arrows);
    if (keypad && pad) {
      const letters = this.stick.at(move.x, move.y).flatMap((way) => pad.compass[way] ?? []);
      keypad.hold("gamepad", letters.map((letter) => ({ field: pad.field, letter })));
    }
    if (Math.hypot(look.x, look.y) < STICK_DEAD_ZONE) this.look?.letGo("gamepad look");
    else this.look?.at("gamepad look", look.x, look.y, STICK_DEAD_ZONE);
  }
}
