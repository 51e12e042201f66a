/**
 * What a newcomer does first, said on the picture until the first key, command or camera: a line, and what to press.
 */

import { byId, el, icon } from "./dom.js";
import { padsOf } from "./keys.js";

/**
 * @typedef {import("./schema.js").Model} Model
 * @typedef {import("./schema.js").Command} Command
 * @typedef {import("./schema.js").Field} Field
 * @typedef {{command: string, label: string, args: Record<string, unknown>}} Press
 * @typedef {{command: string, hint: string, touch: string, camera: boolean, presses: Press[]}} Offer `touch` is the
 *   hint where there are no keys
 */

const PRESSES_MAX = 3;
const TEXT_KINDS = new Set(["text", "multiline"]);

/**
 * What a model offers first: what its author said, else its camera, its keys, or its words. Null when nothing of it
 * says what one could do. Pure.
 * @param {Model} model
 * @returns {Offer | null}
 */
export function offerOf(model) {
  const declared = model.commands.find((command) => command.primary);
  const camera = model.tracks.some((track) => track.kind === "video" && track.direction === "in");
  if (!declared && camera) return { command: "", hint: "", touch: "", camera, presses: [] };
  const command =
    declared ??
    model.commands.find((each) => padsOf(each).length > 0) ??
    model.commands.find((each) => promptOf(each)?.kind === "multiline");
  if (!command) return null;
  const letters = padsOf(command).flatMap((pad) => pad.letters.filter((letter) => letter !== pad.neutral));
  const prompt = promptOf(command);
  const guess = letters.length > 0 ? `${letters.slice(0, 4).join(" ")} to play` : prompt ? command.description : "";
  const hint = command.hint || guess;
  return {
    command: command.name,
    hint,
    touch: letters.length > 0 ? touchWords(hint) : hint,
    camera: false,
    presses: pressesOf(command, prompt),
  };
}

/**
 * The text that a command is all about: the only argument that must be given.
 * @param {Command} command
 * @returns {Field | undefined}
 */
export function promptOf({ fields }) {
  const needed = fields.filter((field) => field.required);
  const [only] = needed.length > 0 ? needed : fields;
  return needed.length < 2 && only && TEXT_KINDS.has(only.kind) ? only : undefined;
}

/**
 * "W A S D to drive" → "Touch the keys to drive": who has no keyboard is not told of letters.
 * @param {string} hint
 */
function touchWords(hint) {
  const verb = /^(?:[A-Z0-9][ ,/+]*)+\bto ([^,;.]+)/.exec(hint)?.[1];
  return verb ? `Touch the keys to ${verb}` : hint;
}

/**
 * @param {Command} command
 * @param {Field | undefined} prompt
 * @returns {Press[]}
 */
function pressesOf({ name, label, fields }, prompt) {
  if (fields.length === 0) return [{ command: name, label, args: {} }];
  const examples = prompt?.examples ?? [];
  return examples
    .slice(0, PRESSES_MAX)
    .map((value) => ({ command: name, label: String(value), args: { [/** @type {Field} */ (prompt).name]: value } }));
}

export class Invitation {
  /**
   * @param {{onPress: (press: Press) => void, onCamera: () => void}} doing
   */
  constructor({ onPress, onCamera }) {
    this.root = byId("invitation");
    this.onPress = onPress;
    this.onCamera = onCamera;
    /** @type {Offer | null} */
    this.offer = null;
    /** Whether somebody has done something with this model since the page came. */
    this.taken = false;
    this.touch = matchMedia("(hover: none) and (pointer: coarse)");
    this.touch.addEventListener("change", () => this.render());
  }

  /** @param {Model} model */
  setModel(model) {
    this.offer = offerOf(model);
    this.render();
  }

  /** The first key, command or camera: nobody needs to be told any more. */
  accept() {
    if (this.taken) return;
    this.taken = true;
    this.render();
  }

  render() {
    const { offer, root } = this;
    document.body.dataset.invites = String(!this.taken && Boolean(offer?.camera));
    root.hidden = this.taken || offer === null || (!offer.hint && !offer.camera && offer.presses.length === 0);
    if (root.hidden || !offer) {
      root.replaceChildren();
      return;
    }
    const hint = this.touch.matches ? offer.touch : offer.hint;
    root.replaceChildren(
      ...(hint ? [el("p", { class: "invitation-hint", data: { testid: "hint" } }, hint)] : []),
      ...(offer.camera
        ? [this.button("camera", "Use your camera", "invitation-camera", this.onCamera)]
        : offer.presses.map((press) => this.button("", press.label, "invitation-press", () => this.onPress(press)))),
    );
  }

  /**
   * @param {string} sign
   * @param {string} words
   * @param {string} testid
   * @param {() => void} run
   */
  button(sign, words, testid, run) {
    const only = this.offer?.camera || this.offer?.presses.length === 1;
    return el(
      "button",
      { type: "button", class: only ? "primary" : "example", data: { testid }, on: { click: run } },
      sign ? icon(sign) : null,
      el("span", {}, words),
    );
  }
}
