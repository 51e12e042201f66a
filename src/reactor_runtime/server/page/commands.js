/**
 * The panel of commands: a card for each, in groups where the author made some, and whose request is whose.
 */

import { Card } from "./card.js";
import { el } from "./dom.js";
import { finder, group } from "./finder.js";

/**
 * @typedef {import("./schema.js").Command} Command
 * @typedef {{request_id: string, accepted: boolean, message?: string, code?: string, field?: string}} Receipt
 * @typedef {{send: (name: string, args: Record<string, unknown>, uploads: import("./sender.js").Placed[],
 *   onId: (requestId: string) => void) => Promise<string>, grip: import("./grip.js").Grip,
 *   announce: (text: string, inPanel: boolean) => void}} Told
 */

export class Commands {
  /**
   * `send` resolves to a request id, or rejects with words.
   * @param {HTMLElement} root
   * @param {Told} told
   */
  constructor(root, { send, grip, announce }) {
    this.root = root;
    this.send = send;
    this.grip = grip;
    this.announce = announce;
    /** @type {Map<string, Card>} */
    this.cards = new Map();
    /** @type {Map<string, Card>} Whose commands are not answered or seen yet, by request id. */
    this.requests = new Map();
    /** @type {import("./keypad.js").Keypad[]} */
    this.keypads = [];
  }

  /** @param {Command[]} commands */
  render(commands) {
    this.cards.clear();
    // What a newcomer does first comes first.
    const ordered = [...commands].sort((a, b) => Number(b.primary) - Number(a.primary));
    const cards = ordered.map((command) => new Card(command, this));
    for (const card of cards) this.cards.set(card.command.name, card);
    this.keypads = cards.flatMap((card) => card.keypad ?? []);
    const names = [...new Set(commands.map((command) => command.group || ""))];
    const groups = names.map((name) => {
      const elements = laidOut(cards.filter(({ command }) => (command.group || "") === name));
      return name ? [group(name, elements)] : elements;
    });
    const find = finder(
      cards.map((card) => ({ element: card.element, words: card.words })),
      () => [...this.root.querySelectorAll(/** @type {"details"} */ (".command-group, .actions"))],
    );
    this.root.replaceChildren(...(find ? [find] : []), ...groups.flat());
    this.root.setAttribute("aria-busy", "false");
  }

  /** @param {boolean} connected */
  setConnected(connected) {
    this.root.classList.toggle("offline", !connected);
    for (const card of this.cards.values()) card.setConnected(connected);
    if (!connected) this.requests.clear();
    this.grip.clear();
  }

  /**
   * @param {string} name
   * @param {Record<string, unknown> | null} release see `Grip.hold`
   */
  hold(name, release) {
    this.grip.hold(name, release);
  }

  /**
   * The server let go for this page, which it did not hear: what is held is said again.
   * @param {string[]} names
   */
  letGo(names) {
    for (const name of names) {
      const card = this.cards.get(name);
      if (card?.isHeld) card.submit();
    }
  }

  /**
   * The keys are on the picture: a card with nothing else in it goes, and a group with nothing but that.
   * @param {import("./keypad.js").Keypad} keypad
   */
  clearAway(keypad) {
    const card = [...this.cards.values()].find((each) => each.keypad === keypad);
    if (!card?.isEmpty) return;
    const around = card.element.closest(".command-group");
    card.element.remove();
    if (around && !around.querySelector(".card")) around.remove();
  }

  /** Whether there is nothing in the panel. */
  get isEmpty() {
    return this.root.childElementCount === 0;
  }

  /**
   * A picture from the clipboard: to the card with the focus, else to the first that takes one.
   * @param {File} blob
   */
  paste(blob) {
    const taking = [...this.cards.values()].flatMap((card) =>
      card.controls.filter((control) => control.accepts),
    );
    const control = taking.find(({ element }) => element.contains(document.activeElement)) ?? taking[0];
    control?.accepts?.(blob);
    return control !== undefined;
  }

  /**
   * What the model has been set to, by whomever. Of a reset, keys that are still held are said again.
   * @param {{commands: Record<string, import("./following.js").Told>, reset?: boolean}} told
   */
  follow({ commands, reset }) {
    for (const [name, told] of Object.entries(commands)) this.cards.get(name)?.following.tell(told);
    if (reset) for (const keypad of this.keypads) keypad.again();
  }

  /** @param {import("./invitation.js").Press} press what is filled in and sent, as if by hand */
  press({ command, args }) {
    const card = this.cards.get(command);
    card?.fill(args);
    card?.submit();
  }

  /** @param {Receipt} receipt */
  receipt(receipt) {
    this.requests.get(receipt.request_id)?.receipt(receipt);
    if (!receipt.accepted) this.requests.delete(receipt.request_id);
  }

  /** @param {import("./latency.js").Delay} delay */
  shown({ requestId, delayMs, exact }) {
    this.requests.get(requestId)?.shown(requestId, delayMs, exact);
    this.requests.delete(requestId);
  }
}

/**
 * Cards in their order, those without arguments together at the end.
 * @param {Card[]} cards
 */
function laidOut(cards) {
  const plain = cards.filter((card) => card.command.fields.length === 0);
  const forms = cards.filter((card) => !plain.includes(card)).map((card) => card.element);
  if (plain.length === 0) return forms;
  const actions = plain.map((card) => card.element);
  return [...forms, el("ul", { class: "card actions", role: "list", "aria-label": "Actions" }, actions)];
}
