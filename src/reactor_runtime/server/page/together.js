/**
 * What is shown of the others, as soon as there are any: how many are here, who drives, the line and one's turn.
 *
 *   people ─▶ together ─▶ standing ─▶ rail      what one can do about it
 *                  ├────▶ waiting               one's place in the line
 *                  └────▶ roster                who is here, and what an operator may do
 */

import { StopAsk, companyText } from "./company.js";
import { byId, el } from "./dom.js";
import { Rail } from "./rail.js";
import { Roster } from "./roster.js";
import { OVER_MS, goneText, isEnding, left, standing, waitText } from "./standing.js";
import { Waiting } from "./waiting.js";
import { wear } from "./wear.js";

const LOOK_MS = 500;
/** A style that did not come is asked for again. */
const DRESS_MS = 2_000;
/** @type {import("./standing.js").Turn} */
const NO_TURN = { waiting: 0, endsAtMs: null };

export class Together {
  /** @param {import("./people.js").People} people */
  constructor(people) {
    this.people = people;
    this.parts = people.parts;
    /** @type {import("./people.js").Here} */
    this.here = { viewers: 1, drivers: 0, driving: false };
    /** @type {import("./standing.js").Wheel | null} */
    this.wheel = null;
    this.turn = NO_TURN;
    /** @type {import("./standing.js").Ticket | null} */
    this.ticket = null;
    /** @type {import("./roster.js").Listed[]} Who is here, for operators. */
    this.listed = [];
    /** Whether the server gives no more turns. */
    this.lineClosed = false;
    /** @type {number | null} When one's turn was over. */
    this.overAtMs = null;
    const { server, announce } = this.parts;
    this.rail = new Rail(byId("stage"), { onAct: (act) => this.act(act), announce });
    this.roster = new Roster(this);
    this.stopAsk = new StopAsk(people);
    this.lineLeft = el("b", { "aria-hidden": "true" });
    this.lineWords = el("span", {});
    this.lineMore = el("span", { class: "line-more" });
    this.line = el("p", { class: "line", hidden: true, data: { testid: "line" } }, this.lineWords, this.lineMore, this.lineLeft);
    byId("company").before(this.line);
    this.waiting = new Waiting(server, (told) => this.follow(told));
    byId("company").addEventListener("click", () => this.roster.open());
    setInterval(() => this.look(), LOOK_MS);
    this.dressed = false;
    this.dress();
  }

  /** Nothing lies on the picture before it has its place there. */
  async dress() {
    while (!this.dressed) {
      this.dressed = await wear("together.css").then(() => true, () => false);
      if (!this.dressed) await new Promise((done) => setTimeout(done, DRESS_MS));
    }
    document.body.dataset.together = "true";
    this.render();
  }

  /**
   * @param {string} kind
   * @param {any} data
   */
  tell(kind, data) {
    if (kind === "company") this.here = data;
    else if (kind === "people") this.listed = data.people;
    else if (kind === "wheel") this.turnedTo(data);
    else this.turned(data);
    this.render();
  }

  /** @param {import("./standing.js").Wheel} wheel */
  turnedTo(wheel) {
    const before = this.wheel;
    this.wheel = wheel;
    // What cannot be pressed can still be read to its end.
    const scroll = /** @type {HTMLElement} */ (byId("commands").parentElement);
    if (wheel.you === "watch") scroll.tabIndex = 0;
    else scroll.removeAttribute("tabindex");
    if (wheel.you === "drive") {
      this.overAtMs = null;
      if (before?.you === "watch") this.parts.announce("You drive.");
    }
  }

  /** @param {{ends_in_s: number | null, waiting: number, over: boolean}} told */
  turned({ ends_in_s: endsInS, waiting, over }) {
    const nowMs = performance.now();
    this.turn = { waiting, endsAtMs: over || endsInS === null ? null : nowMs + endsInS * 1000 };
    if (over && this.wheel?.you === "drive") this.overAtMs = nowMs;
  }

  /** @param {import("./waiting.js").Told | null} told */
  follow(told) {
    if (told === null || told.state === "driving") this.ticket = null;
    else if (told.state === "gone") {
      this.ticket = null;
      this.lineClosed = told.reason === "line_closed";
      const text = goneText(told.reason);
      if (text) this.parts.notices.show(text, "problem");
    } else {
      const { state, place = 1, estimate_s = null, claim_by_s: byS, reason = "" } = told;
      const claimUntilMs = byS === undefined ? null : performance.now() + byS * 1000;
      this.ticket = { state, place, estimate_s, reason, claimUntilMs };
    }
    this.render();
  }

  lost() {
    this.lineClosed = false;
    this.here = { viewers: 1, drivers: 0, driving: false };
    this.wheel = null;
    this.turn = NO_TURN;
    this.listed = [];
    this.roster.close();
    this.render();
  }

  render() {
    const { session, server, cover } = this.parts;
    const { name } = session.view;
    const nowMs = performance.now();
    const stands = standing(
      {
        wheel: this.wheel,
        turn: this.turn,
        ticket: this.ticket,
        overAtMs: this.overAtMs,
        mayDrive: server.mayDrive,
        hasLine: server.hasLine && !this.lineClosed && (this.wheel !== null || name === "occupied" || name === "full"),
      },
      nowMs,
    );
    this.rail.show(this.dressed ? stands : null);
    // A driver is told nothing that can wait.
    const isPressing = this.ticket !== null || this.wheel?.you === "drive";
    cover.sayFirst((isPressing && stands?.title) || "");
    this.renderCompany();
    this.look();
  }

  renderCompany() {
    const text = companyText(this.here, this.wheel);
    const company = byId("company");
    company.hidden = text === "";
    company.title = text;
    byId("company-count").textContent = String(this.here.viewers);
    byId("company-text").textContent = text.slice(text.indexOf(" "));
    this.stopAsk.show(this.here.viewers - 1);
    this.roster.render();
  }

  /** What changes with the time alone. */
  look() {
    const nowMs = performance.now();
    const drives = this.wheel?.you === "drive";
    const { waiting, endsAtMs } = this.turn;
    this.line.hidden = !drives || waiting === 0;
    write(this.lineWords, waitText(waiting));
    write(this.lineMore, endsAtMs === null ? "" : "; your turn ends in");
    write(this.lineLeft, endsAtMs === null ? "" : left(endsAtMs, nowMs));
    const ends = drives && isEnding(this.turn, nowMs);
    if (this.line.dataset.ends !== String(ends)) {
      this.line.dataset.ends = String(ends);
      this.render();
    }
    if (this.overAtMs !== null && nowMs - this.overAtMs > OVER_MS) {
      this.overAtMs = null;
      this.render();
    }
  }

  // What is pressed --------------------------------------------------------------------------------------

  /** @param {import("./standing.js").Act} act */
  async act({ name, to }) {
    try {
      if (name === "line") await this.waiting.join(this.parts.session.descriptor?.session_id);
      else if (name === "unline") await this.waiting.leave();
      else if (name === "claim") await this.claim();
      else await this.ask("wheel", { action: name, to });
    } catch (error) {
      this.parts.notices.show(/** @type {Error} */ (error).message, "problem");
    }
    this.render();
  }

  async claim() {
    const { session, server } = this.parts;
    const { session_id: sessionId, seat } = await this.waiting.claim();
    server.keepSeat(sessionId, seat);
    if (this.wheel && session.descriptor?.session_id === sessionId) await this.ask("wheel", { action: "take", seat });
    else await session.start({ sessionId });
  }

  /**
   * Ask the server over the connection. Rejects with words.
   * @param {string} kind
   * @param {Record<string, unknown>} data
   */
  async ask(kind, data) {
    const { connection } = this.parts.session;
    if (!connection) throw new Error("There is no connection.");
    await connection.request(kind, data);
  }
}

/**
 * @param {HTMLElement} element
 * @param {string} text
 */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
