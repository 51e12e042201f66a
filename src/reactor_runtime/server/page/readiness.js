/**
 * Waiting for the server and its model: until it is reachable, loaded, and after a restart another run of it.
 *
 * It knows by `instance` which run of the server answers, so that a page can tell a server that was started
 * again from a network that was away.
 */

import { ServerError } from "./server.js";
import { capital } from "./words.js";

/** @typedef {import("./session.js").Offers} Offers */

const POLL_MS = 700;
const POLL_FAILED_MS = 3_000;
/** Pauses before each attempt to come back, in seconds; the last one repeats. */
export const RETRY_S = [0.5, 1, 2, 4, 8];
/** A server that is started again is there within seconds, and its author waits for it. */
const RESTART_S = 1;
const RESTARTED = "The server was restarted. This is a new session.";
const REVIVED = "The server was killed or crashed, and has been started again. This is a new session.";

export class Readiness {
  /**
   * @param {import("./server.js").Server} server
   * @param {import("./rounds.js").Rounds} rounds
   * @param {{show: (name: import("./session.js").ViewName, title: string, detail: string, can?: Offers) => void,
   *   onSchema: (document: object) => void}} told
   */
  constructor(server, rounds, { show, onSchema }) {
    this.server = server;
    this.rounds = rounds;
    this.show = show;
    this.onSchema = onSchema;
    /** Which run of the server answered last. */
    this.instance = "";
    /** Whether that run is known to end: the next one is waited for. */
    this.leaving = false;
    /** Whether it is known to have ended without a word. */
    this.vanished = false;
    /** Why its model could not be loaded, as long as that is so. */
    this.cause = "";
    /** What to say when the page is connected again. */
    this.news = "";
    /** The schema that the controls were made of, as text. */
    this.schemaText = "";
  }

  /**
   * Wait for the model. Return what the server told of it.
   * @param {number} round
   * @returns {Promise<import("./server.js").Overview>}
   */
  async wait(round) {
    for (let missed = 0; ; missed += 1) {
      try {
        const seen = await this.server.overview();
        const { health, document } = seen;
        this.rounds.check(round);
        missed = 0;
        if (this.leaving && health.instance === this.instance) {
          await this.untilNextTry(round, RESTART_S);
          continue;
        }
        this.notice(health.instance);
        this.cause = "";
        const loading = ["created", "loading"].includes(health.state);
        if (health.ok && !loading) {
          await this.untilSeen(round);
          return seen;
        }
        this.useSchema(document);
        await this.describe(round, health, { loading, sessionId: seen.running.session_id });
        await this.rounds.pause(round, loading ? POLL_MS : POLL_FAILED_MS);
      } catch (error) {
        this.rounds.check(round);
        if (!(error instanceof ServerError) || error.isLocked) throw error;
        const retryS = RETRY_S[Math.min(missed + 1, RETRY_S.length - 1)];
        const isAwaited = this.leaving || this.vanished || this.cause !== "";
        await this.untilNextTry(round, isAwaited ? RESTART_S : retryS);
      }
    }
  }

  /**
   * Make the controls, unless those on the page are of this very schema.
   * @param {object} document
   */
  useSchema(document) {
    const text = JSON.stringify(document);
    if (!("paths" in document) || text === this.schemaText) return;
    this.schemaText = text;
    this.onSchema(document);
  }

  /** What there is to say once the page is connected again; it is said once. */
  takeNews() {
    const { news } = this;
    this.news = "";
    return news;
  }

  /** @param {string} instance which run of the server answers */
  notice(instance) {
    if (this.instance && instance !== this.instance) this.news = this.vanished ? REVIVED : RESTARTED;
    this.instance = instance;
    this.leaving = this.vanished = false;
  }

  /**
   * @param {number} round
   * @param {import("./server.js").Health} health
   * @param {{loading: boolean, sessionId: string}} about
   */
  async describe(round, { detail, loading: progress }, { loading, sessionId }) {
    if (!loading) {
      const raised = await this.server.raised(sessionId);
      this.rounds.check(round);
      this.cause = capital(raised || detail) || "The operator's log has the details.";
      this.show("failed", "The model is not available", this.cause);
      return;
    }
    const text = capital(detail) || "This can take a few minutes the first time.";
    const title = `Loading ${progress?.model || "the model"}`;
    this.show("loading", this.news ? "The server was restarted" : title, text, { busy: true, loading: progress });
  }

  /**
   * The server is away: say so, and pause.
   * @param {number} round
   * @param {number} seconds
   */
  async untilNextTry(round, seconds) {
    await this.rounds.countdown(round, seconds, (left) => {
      if (this.cause) {
        const text = `${this.cause}\nThe server has ended. This page comes back by itself as soon as it runs again.`;
        this.show("failed", "The model is not available", text, { canStart: true });
      } else if (this.vanished) {
        const text =
          "It ended without a word: it was killed, or it crashed. This page comes back by itself as soon as the server runs again.";
        this.show("gone", "The server is gone", text, { canStart: true, busy: true });
      } else if (this.leaving) {
        const text = "This page comes back by itself as soon as the server runs again.";
        this.show("gone", "The server was shut down", text, { canStart: true, busy: true });
      } else {
        const text = `Is it still running, and is this address right? Trying again in ${left} s.`;
        this.show("gone", "The server is not reachable", text, { canStart: true });
      }
    });
  }

  /**
   * Nobody looks at a page in the background: it must not take the model of a server that was restarted.
   * @param {number} round
   */
  async untilSeen(round) {
    if (!this.news || !document.hidden) return;
    this.show("gone", "The server was restarted", "", { canStart: true });
    await new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
    this.rounds.check(round);
  }
}
