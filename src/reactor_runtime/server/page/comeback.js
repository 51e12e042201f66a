/**
 * Coming back to a session whose connection went: when to try, what to say meanwhile, and whether the server that
 * answers is still the one that was lost.
 */

import { untilAnswered } from "./askagain.js";
import { RUNNING } from "./entrance.js";
import { isOver, ServerError } from "./server.js";
import { RETRY_S } from "./readiness.js";
import { comingBack, endedMeanwhile, ending, offlineSince } from "./words.js";

/** One question: a socket that the network took along answers nothing, and a new one is made by the next. */
const TRY_MS = 2_500;
/** One try asks for ten seconds; a browser has six sockets for a server, and five questions are open at a time. */
const ASKING = { everyMs: 500, times: 20, isSilence };
/** What a browser says of being online is asked again after this, without having been told. */
const OFFLINE_MS = 10_000;
/** The first connections that are tried: a browser that just changed networks may look for the server on the old one. */
const QUICK_MS = 5_000;
const QUICK_TRIES = 2;
/** A server that is started again is there within seconds, and its author waits for it. */
const GONE_S = 1;

export class ComingBack {
  /** @param {import("./session.js").Session} session */
  constructor(session) {
    this.session = session;
    this.probing = false;
  }

  /**
   * Nothing arrives any more: ask the server whether it is there. Where it is, the line is only weak and stays.
   */
  async probe() {
    const { connection, server, readiness } = this.session;
    if (this.probing || connection === null) return;
    this.probing = true;
    try {
      // Twice: a change of networks also ends what is asked just then.
      for (let refusals = 0; refusals < 2; refusals += 1) {
        try {
          const { instance } = await server.health({ timeoutMs: TRY_MS });
          if (instance !== readiness.instance) connection.lose("the server was started again");
          return;
        } catch (error) {
          if (!isGone(error)) return;
          await new Promise((done) => setTimeout(done, 250));
        }
      }
      readiness.vanished = true;
      connection.lose("the server ended without a word");
    } finally {
      this.probing = false;
    }
  }

  /**
   * @param {number} round
   * @param {import("./words.js").Loss} loss
   */
  async run(round, loss) {
    const { session } = this;
    const { rounds, server, readiness } = session;
    let { why } = loss;
    for (let attempt = 0; ; attempt += 1) {
      await this.untilNextTry(round, attempt, loss, why);
      try {
        const seen = await untilAnswered(async (signal) => {
          rounds.check(round);
          if (session.view.name === "reconnecting") this.tell(loss, why, null);
          return server.overview({ timeoutMs: TRY_MS, signal });
        }, ASKING);
        rounds.check(round);
        const { health, running } = seen;
        if (health.instance !== readiness.instance) {
          session.creator = false;
          session.start();
          return;
        }
        readiness.vanished = false;
        if (!RUNNING.has(running.state) || running.session_id !== session.descriptor?.session_id) {
          await this.over(round, loss);
          return;
        }
        const withinMs = attempt < QUICK_TRIES ? QUICK_MS : undefined;
        await session.connect(round, seen, running.session_id, { withinMs });
        return;
      } catch (error) {
        rounds.check(round);
        if (error instanceof ServerError && error.isLocked) throw error;
        if (isOver(error)) {
          await this.over(round, loss);
          return;
        }
        readiness.vanished ||= isGone(error);
        why =
          error instanceof ServerError && error.status === 0
            ? "the server does not answer"
            : /** @type {Error} */ (error).message.replace(/\.$/, "");
      }
    }
  }

  /**
   * The session is not there any more. One that its model ended takes its connections along, perhaps before its last word
   * was heard.
   * @param {number} round
   * @param {import("./words.js").Loss} loss
   */
  async over(round, loss) {
    const { session } = this;
    const raised = await session.server.raised(session.descriptor?.session_id ?? "");
    session.rounds.check(round);
    if (raised) session.finish(ending("model_error", { said: "", detail: raised }));
    else session.finish(endedMeanwhile(loss, Date.now()));
  }

  /**
   * @param {number} round
   * @param {number} attempt
   * @param {import("./words.js").Loss} loss
   * @param {string} why the last attempt's outcome
   */
  async untilNextTry(round, attempt, loss, why) {
    const { session } = this;
    if (!navigator.onLine) {
      session.show("offline", "You are offline", offlineSince(loss.atMs), { canStart: true, canStop: true });
      await session.rounds.pause(round, OFFLINE_MS);
      return;
    }
    if (session.readiness.vanished) {
      await session.readiness.untilNextTry(round, GONE_S);
      return;
    }
    const seconds = RETRY_S[Math.min(attempt, RETRY_S.length - 1)];
    await session.rounds.countdown(round, seconds, (nextS) => this.tell(loss, why, nextS));
    this.tell(loss, why, null);
  }

  /**
   * @param {import("./words.js").Loss} loss
   * @param {string} why the last attempt's outcome
   * @param {number | null} nextS when the next one comes; null: now
   */
  tell(loss, why, nextS) {
    this.session.show("reconnecting", "Reconnecting", comingBack(loss, Date.now(), { why, nextS }), {
      busy: true,
      canStart: nextS !== null,
      canStop: true,
    });
  }
}

/**
 * Whether the network swallowed or refused a question, which says nothing of the server: it may be back at any moment.
 * @param {unknown} error
 */
function isSilence(error) {
  return navigator.onLine && error instanceof ServerError && error.status === 0 && !isGone(error);
}

/**
 * Whether nothing is there that could answer. A network between may refuse as well, so only this machine's own word
 * counts, and that of a proxy which knows the server.
 * @param {unknown} error
 */
export function isGone(error) {
  if (!(error instanceof ServerError)) return false;
  const isHere = /^(localhost|127\.[\d.]+|\[::1\])$/.test(location.hostname);
  return error.status === 502 || error.status === 504 || (error.isRefused && isHere);
}
