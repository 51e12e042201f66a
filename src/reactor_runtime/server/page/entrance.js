/**
 * Getting in: which session of the server it is, whether to join it or to begin one, and waiting at the door where neither
 * can be done yet.
 */

import { ServerError } from "./server.js";
import { capital } from "./words.js";

/**
 * @typedef {import("./server.js").Descriptor} Descriptor
 * @typedef {import("./server.js").Overview} Overview
 */

export const RUNNING = new Set(["waiting", "streaming", "orphaned"]);
/** How often it is asked whether somebody else still has the model. */
const OCCUPIED_MS = 3_000;
const BUSY_MS = 200;
/** How often somebody for whom there was no room asks again. */
const FULL_S = 3;
/** A session that is just closing is over within the stop limit of the server. */
const CLOSING_MS = 15_000;

/** Somebody else's session runs, and this tab's own is over; with a message: nobody else is let in. */
export class Occupied extends Error {}

export class Entrance {
  /** @param {import("./session.js").Session} session */
  constructor(session) {
    this.session = session;
  }

  /**
   * Join the session that runs or start one; one that is closing is waited for.
   * @param {number} round
   * @param {Overview} seen
   * @param {{join: boolean}} consent
   */
  async enter(round, seen, { join }) {
    const { session } = this;
    const { rounds, readiness, server } = session;
    session.show("connecting", "Connecting", "", { busy: true, canStop: true });
    const untilMs = performance.now() + CLOSING_MS;
    for (;;) {
      this.place(seen);
      const joins = this.joins(seen.running, { join });
      if (!joins && !server.mayDrive) {
        const text = "The picture appears by itself as soon as somebody drives.";
        session.show("idle", "Nobody drives at the moment", text, { busy: true, canStop: true });
        await rounds.pause(round, OCCUPIED_MS);
        seen = await readiness.wait(round);
        continue;
      }
      try {
        await session.connect(round, seen, joins ? seen.running.session_id : null);
        return;
      } catch (error) {
        rounds.check(round);
        if (error instanceof ServerError && error.status === 409 && joins) throw new Occupied(error.message);
        const wait = error instanceof ServerError && (error.status === 503 || (error.status === 409 && !joins));
        if (!wait || session.answered) throw error;
        if (joins) await this.untilRoom(round, error);
        else if (performance.now() > untilMs) throw error;
        else {
          const text = capital(error.message);
          session.show("connecting", "Waiting for the model", text, { busy: true, canStop: true });
          await rounds.pause(round, BUSY_MS);
        }
        seen = await readiness.wait(round);
      }
    }
  }

  /**
   * There is no room for one more: pause until somebody may have left.
   * @param {number} round
   * @param {Error} error
   */
  async untilRoom(round, error) {
    await this.session.rounds.countdown(round, FULL_S, (leftS) => {
      const text = `${capital(error.message)}. You get in by yourself when there is room. Next try in ${leftS} s.`;
      this.session.show("full", "No room at the moment", text, { busy: true, canStart: true, canStop: true });
    });
  }

  /**
   * Whoever may not drive has nothing to do in a slot that is free, of which the server tells first.
   * @param {Overview} seen
   */
  place(seen) {
    const runs = seen.sessions.find(({ state }) => RUNNING.has(state));
    const isThere = RUNNING.has(seen.running.state) || this.session.server.mayDrive;
    if (runs && !isThere) seen.running = { ...seen.running, ...runs };
  }

  /**
   * Whether to join the session that runs, instead of starting one.
   * @param {Descriptor} running
   * @param {{join: boolean}} consent
   */
  joins(running, { join }) {
    // A session that somebody else left behind may still be theirs for the orphan time, but a stranger must not find
    // their state in it: it is ended, and a fresh one begins.
    const { session_id: sessionId, state } = running;
    const { remembered, server } = this.session;
    const isOwn = remembered.began(sessionId) || server.seatIn(sessionId) !== "";
    const left = state === "orphaned" && !isOwn && server.mayDrive;
    server.left = left ? sessionId : "";
    const joins = !left && isJoinable(running);
    const { visited } = remembered;
    if (joins && !join && visited && visited !== sessionId) throw new Occupied();
    return joins;
  }

  /**
   * Somebody else has the model, and this tab's own session is over or no visitors are let in: say so until it is free.
   * @param {number} round
   * @param {Occupied} occupied
   */
  async untilFree(round, { message }) {
    const over = "Your session is over";
    this.session.show(
      "occupied",
      message ? "Somebody else drives" : over,
      capital(message) || "Somebody else uses the model now. If you join, you see their picture.",
      { canStart: true, startText: message ? "Try again" : "Join" },
    );
    try {
      do {
        await this.session.rounds.pause(round, OCCUPIED_MS);
      } while (isJoinable((await this.session.server.overview()).running));
      this.session.rounds.check(round);
      this.session.show("ended", message ? "The model is free" : over, "Start begins a session.", { canStart: true });
    } catch (error) {
      if (round === this.session.rounds.now) this.session.fail(/** @type {Error} */ (error));
    }
  }
}

/** @param {Descriptor} running */
const isJoinable = (running) => RUNNING.has(running.state) && Boolean(running.capabilities);
