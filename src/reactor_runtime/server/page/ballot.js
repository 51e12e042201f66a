/**
 * A vote, on the picture: what is asked, how it stands, the time left and one's own ballot; keys 1 to 9 and presses.
 * Loaded when the server first says that there is one. The server counts; what is pressed is marked at once, and stays
 * so once the server says the same.
 */

import { el, icon } from "./dom.js";
import { commandLabel, words } from "./labels.js";
import { wear } from "./wear.js";
import { encodeRuntime } from "./wire.js";

/**
 * @typedef {{round: number, command: string, parameter: string, title: string, choices: string[],
 *   counts: Record<string, number>, ends_in_s: number | null, yours: string | null, result: string | null,
 *   receipt?: {accepted: boolean, message?: string}}} Told what the server says
 * @typedef {{stage: HTMLElement, send: (text: string) => boolean, announce: (text: string) => void,
 *   shortcuts: import("./shortcuts.js").Shortcuts, keypads: () => import("./keypad.js").Keypad[],
 *   mayVote: () => boolean}} Parts
 * @typedef {{button: HTMLButtonElement, count: HTMLElement, unit: HTMLElement, fill: HTMLElement}} Row
 */

/** How long what was decided is shown, unless the next round begins before. */
const RESULT_MS = 5_000;
/** How long a ballot may be on its way before what the server says of it counts again. */
const SENT_MS = 2_000;
const COUNT_MS = 250;
const KEYS = 9;

/**
 * What stands over the choices. Pure.
 * @param {Told} told
 * @param {number | null} leftMs
 * @param {(choice: string) => string} name
 */
export function saying({ counts, result, receipt }, leftMs, name) {
  const ballots = Object.values(counts).reduce((sum, count) => sum + count, 0);
  if (result !== null) {
    const of = `${name(result)} won with ${counts[result]} of ${ballots}`;
    return receipt && !receipt.accepted ? `${of}, and was refused: ${receipt.message ?? ""}` : of;
  }
  if (leftMs === null) return "The first vote starts the clock";
  const votes = ballots === 1 ? "1 vote" : `${ballots} votes`;
  return `${Math.max(0, Math.ceil(leftMs / 1000))} s left, ${votes}`;
}

export class Ballot {
  /** @param {Parts} parts */
  constructor(parts) {
    this.parts = parts;
    /** @type {Told | null} */
    this.told = null;
    /** @type {number | null} When the round ends, on the page's clock. */
    this.endsMs = null;
    /** @type {{round: number, choice: string, atMs: number} | null} The ballot that is on its way. */
    this.sent = null;
    /** @type {Map<string, Row>} */
    this.rows = new Map();
    this.asked = "";
    this.resultTimer = 0;
    this.title = el("b", { data: { testid: "ballot-title" } });
    this.words = el("span", { class: "ballot-words", data: { testid: "ballot-words" } });
    this.clock = el("i", { class: "ballot-clock", "aria-hidden": "true" });
    this.head = el(
      "button",
      { type: "button", class: "ballot-head", "aria-expanded": "true", "aria-controls": "ballot-choices", on: { click: () => this.fold() } },
      el("span", { class: "ballot-about" }, this.title, this.words),
      icon("chevron"),
    );
    this.choices = el("div", { id: "ballot-choices", class: "ballot-choices", role: "group", data: { testid: "ballot-choices" } });
    this.root = el(
      "section",
      { class: "ballot", hidden: true, "aria-label": "Vote", data: { testid: "ballot" } },
      this.head,
      this.clock,
      this.choices,
    );
    parts.stage.append(this.root);
    setInterval(() => this.tick(), COUNT_MS);
    this.worn = wear("ballot.css");
  }

  /** @param {Told} told */
  async show(told) {
    await this.worn;
    clearTimeout(this.resultTimer);
    const before = this.told;
    this.told = told;
    this.endsMs = told.ends_in_s === null ? null : performance.now() + told.ends_in_s * 1000;
    this.render();
    if (told.result !== null) {
      const next = { ...told, round: told.round + 1, result: null, receipt: undefined, yours: null };
      const counts = Object.fromEntries(told.choices.map((choice) => [choice, 0]));
      this.resultTimer = window.setTimeout(() => this.show({ ...next, counts }), RESULT_MS);
    }
    this.tell(before, told);
  }

  /** There is no connection: nothing can be voted on. */
  lost() {
    clearTimeout(this.resultTimer);
    this.told = this.endsMs = this.sent = null;
    this.root.hidden = true;
    this.parts.shortcuts.drop(this.keys());
  }

  /**
   * What a screen reader is told: that a round began, and how it ended; not every ballot.
   * @param {Told | null} before
   * @param {Told} told
   */
  tell(before, told) {
    const { announce } = this.parts;
    const begins = told.ends_in_s !== null && !(before?.round === told.round && before.ends_in_s !== null);
    if (begins) announce(`${this.title.textContent}. ${Math.round(told.ends_in_s ?? 0)} seconds.`);
    else if (told.result !== null) announce(`Vote: ${saying(told, null, (choice) => this.name(choice))}.`);
  }

  render() {
    const told = /** @type {Told} */ (this.told);
    const asked = JSON.stringify([told.command, told.parameter, told.choices, this.parts.mayVote()]);
    if (asked !== this.asked || this.root.hidden) this.ask(told);
    this.asked = asked;
    this.root.hidden = false;
    const most = Math.max(1, ...Object.values(told.counts));
    const yours = this.yours(told);
    for (const [choice, { button, count, unit, fill }] of this.rows) {
      const votes = told.counts[choice] ?? 0;
      count.textContent = String(votes);
      unit.textContent = votes === 1 ? " vote" : " votes";
      fill.style.scale = `${votes / most} 1`;
      button.setAttribute("aria-pressed", String(choice === yours));
      button.dataset.won = String(choice === told.result);
    }
    this.root.dataset.state = told.result !== null ? "over" : told.ends_in_s === null ? "idle" : "open";
    this.root.dataset.voted = String(yours !== null);
    this.tick();
    this.drain();
  }

  /** The clock runs out by itself, however seldom the server says how it stands. */
  drain() {
    for (const running of this.clock.getAnimations()) running.cancel();
    if (this.endsMs === null) return;
    const leftMs = this.endsMs - performance.now();
    this.roundMs = Math.max(this.roundMs ?? 0, leftMs);
    const from = Math.max(0, leftMs / this.roundMs);
    this.clock.animate([{ scale: `${from} 1` }, { scale: "0 1" }], { duration: Math.max(1, leftMs), fill: "forwards" });
  }

  tick() {
    if (!this.told) return;
    const leftMs = this.endsMs === null ? null : this.endsMs - performance.now();
    const idle = leftMs === null && this.told.result === null;
    const text =
      idle && !this.parts.mayVote() ? "Others vote, you watch" : saying(this.told, leftMs, (choice) => this.name(choice));
    if (this.words.textContent !== text) this.words.textContent = text;
  }

  /** @param {Told} told */
  ask(told) {
    this.parts.shortcuts.drop(this.keys());
    this.roundMs = 0;
    this.title.textContent = `Vote: ${told.title || commandLabel(told.command)}`;
    this.choices.setAttribute("aria-label", this.title.textContent);
    this.rows = new Map(told.choices.map((choice, index) => [choice, this.row(choice, index)]));
    this.choices.replaceChildren(...[...this.rows.values()].map(({ button }) => button));
    const keys = told.choices.slice(0, KEYS).map((choice, index) => [
      String(index + 1),
      { label: `Vote for ${this.name(choice)}`, run: () => this.vote(choice) },
    ]);
    if (this.parts.mayVote()) this.parts.shortcuts.add(Object.fromEntries(keys));
  }

  keys() {
    return [...this.rows.keys()].slice(0, KEYS).map((_, index) => String(index + 1));
  }

  /**
   * @param {string} choice
   * @param {number} index
   * @returns {Row}
   */
  row(choice, index) {
    const count = el("span");
    const unit = el("span", { class: "visually-hidden" });
    const fill = el("i", { class: "ballot-fill", "aria-hidden": "true" });
    const button = el(
      "button",
      { type: "button", class: "ballot-choice", disabled: !this.parts.mayVote(), data: { testid: `ballot-${choice}` }, on: { click: () => this.vote(choice) } },
      fill,
      index < KEYS && el("kbd", { "aria-hidden": "true", data: { key: String(index + 1) } }),
      el("span", { class: "ballot-name", dir: "auto" }, this.name(choice)),
      icon("check"),
      el("span", { class: "ballot-count" }, count, unit),
    );
    return { button, count, unit, fill };
  }

  /**
   * What a choice is called: where it is a key, what the key means.
   * @param {string} choice
   */
  name(choice) {
    const { command, parameter } = /** @type {Told} */ (this.told);
    const keypad = this.parts.keypads().find(({ name }) => name === command);
    const meaning = keypad?.pads.find(({ field }) => field === parameter)?.meaning[choice];
    return words(meaning ?? choice);
  }

  /** @param {string} choice */
  vote(choice) {
    const { told } = this;
    if (!told) return;
    // After a round's end the next ballot begins the next one.
    const round = told.result === null ? told.round : told.round + 1;
    if (!this.parts.send(encodeRuntime("vote", { round, choice }))) return;
    this.sent = { round, choice, atMs: performance.now() };
    this.render();
  }

  /**
   * The ballot that is on its way, else what the server says.
   * @param {Told} told
   */
  yours({ round, yours, result }) {
    const { sent } = this;
    if (sent && (sent.choice === yours || performance.now() - sent.atMs > SENT_MS)) this.sent = null;
    const next = result === null ? round : round + 1;
    return this.sent?.round === next ? this.sent.choice : yours;
  }

  fold() {
    const folded = this.root.dataset.folded !== "true";
    this.root.dataset.folded = String(folded);
    this.head.setAttribute("aria-expanded", String(!folded));
  }
}
