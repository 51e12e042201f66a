/**
 * The life of a viewer: waiting for the model, starting or joining its session, coming back after a loss or
 * a restart of the server, ending.
 *
 * One loop at a time drives it; starting or stopping cancels the one before. What people see is `view`, a
 * plain value handed to `onView` whenever it changes.
 */

import { ComingBack } from "./comeback.js";
import { Entrance, Occupied } from "./entrance.js";
import { Ladder } from "./ladder.js";
import { Readiness } from "./readiness.js";
import { Remembered } from "./remembered.js";
import { Cancelled, Rounds } from "./rounds.js";
import { ServerError, isOver } from "./server.js";
import { ending } from "./words.js";

/**
 * @typedef {"loading" | "failed" | "gone" | "locked" | "occupied" | "idle" | "connecting" | "full" | "waiting" | "live" |
 *   "reconnecting" | "offline" | "ended"} ViewName
 * @typedef {import("./server.js").Loading} Loading
 * @typedef {{canStart?: boolean, canStop?: boolean, busy?: boolean, startText?: string,
 *   loading?: Loading | null}} Offers
 * @typedef {{name: ViewName, title: string, detail: string} & Required<Offers>} View
 * @typedef {import("./server.js").Descriptor} Descriptor
 * @typedef {import("./server.js").Overview} Overview
 * @typedef {import("./remembered.js").LogTicket} LogTicket
 * @typedef {{onView: (view: View) => void, onSchema: (document: object) => void,
 *   onStream: (stream: MediaStream) => void, onMessage: (message: import("./wire.js").Said) => void,
 *   onConnected: (connection: import("./connection.js").Connection, news: string) => void, onLost: () => void}} Told
 */

/** States that end by themselves, and that a press hurries. */
const TRYING = new Set(["reconnecting", "gone", "full", "offline"]);
const FIRST_FRAME_HINT_MS = 3_000;

export class Session {
  /**
   * @param {import("./server.js").Server} server
   * @param {Told} told
   */
  constructor(server, told) {
    this.server = server;
    this.told = told;
    /** @type {View} */
    this.view = { name: "loading", title: "", detail: "", ...offers({}) };
    this.ladder = new Ladder(location);
    /** @type {import("./connection.js").Connection | null} */
    this.connection = null;
    /** @type {Descriptor | null} */
    this.descriptor = null;
    /** Whether the server took the offer of this connection. */
    this.answered = false;
    /** @type {import("./connection.js").Connection | null} The connection that people were told of. */
    this.announced = null;
    this.creator = false;
    /** @type {LogTicket | null} Where the log of the last session that this page began is fetched. */
    this.log = null;
    /** What to say while no frame came: what the model waits for. */
    this.firstFrameNeeds = () => "";
    /** What its author said to expect until then. */
    this.expects = "";
    this.remembered = new Remembered();
    server.visited = this.remembered.visited;
    this.endReason = "";
    this.failed = { said: "", detail: "" };
    /** Whether it is time to say what the model may wait for. */
    this.hinting = false;
    this.rounds = new Rounds();
    this.readiness = new Readiness(server, this.rounds, {
      show: (...view) => this.show(...view),
      onSchema: told.onSchema,
    });
    this.back = new ComingBack(this);
    this.entrance = new Entrance(this);
    addEventListener("online", () => this.rounds.hurry());
  }

  /**
   * Begin: wait for the model, then start or join its session. Cancels what was under way. A session that is
   * neither new to this tab nor its own is joined only with `join`; `sessionId` is one that this tab was sent to.
   */
  async start({ join = false, sessionId = "" } = {}) {
    if (sessionId) this.visit(sessionId);
    const round = this.cancel();
    try {
      const seen = await this.readiness.wait(round);
      // The session's request is on its way before the controls are built.
      const entering = this.entrance.enter(round, seen, { join });
      this.readiness.useSchema(seen.document);
      await entering;
    } catch (error) {
      if (error instanceof Cancelled || round !== this.rounds.now) return;
      if (error instanceof Occupied) await this.entrance.untilFree(round, error);
      else this.fail(/** @type {Error} */ (error));
    }
  }

  /** Leave; ends the session if this page began it, unless it is `leaving` only. */
  async stop({ leaving = false } = {}) {
    const created = this.creator && !leaving;
    this.cancel();
    this.show(
      "ended",
      created ? "Session stopped" : "You left the session",
      created ? "The model stays loaded." : "It goes on for the others.",
      { canStart: true },
    );
    if (!created) return;
    this.creator = false;
    try {
      await this.server.stopSession(this.descriptor?.session_id);
    } catch {
      // The session ends by itself when nobody is connected.
    }
  }

  /** The first frame of this connection is on the screen; it may be there before the channels are. */
  firstFrame() {
    if (this.answered) this.connected();
    if (this.view.name === "waiting") this.show("live", "Live", "", { canStop: true });
  }

  /**
   * The model failed, and the server is about to end the session. `said` is what it says of that, `detail` what the
   * model raised, which only its author on the same machine is told.
   * @param {{said: string, detail: string}} failure
   */
  failing({ said, detail }) {
    this.failed = { said, detail };
  }

  /**
   * The server said why it is about to close the session.
   * @param {string} reason
   */
  ended(reason) {
    this.endReason = reason || "stopped";
    if (reason === "server stopped") {
      this.creator = false;
      this.readiness.leaving = true;
      this.start();
      return;
    }
    this.finish(ending(this.endReason, this.failed));
  }

  /** @param {string} sessionId where this tab is, or is about to be */
  visit(sessionId) {
    this.remembered.visit(sessionId);
    this.server.visited = sessionId;
  }

  /**
   * Take over what the server says of the session that this page is in.
   * @param {Descriptor} descriptor
   * @param {{began: boolean}} how
   */
  entered(descriptor, { began }) {
    this.descriptor = descriptor;
    if (began) this.remembered.begin(descriptor);
    this.visit(descriptor.session_id);
    this.creator = this.remembered.began(descriptor.session_id);
    this.log = this.creator ? (this.remembered.created.session_log ?? null) : null;
  }

  /**
   * @param {number} round
   * @param {Overview} seen
   * @param {string | null} sessionId null starts a session
   * @param {{withinMs?: number}} [how]
   */
  async connect(round, { running, iceServers }, sessionId, how) {
    const known = { capabilities: running.capabilities, iceServers };
    const callbacks = {
      /** @param {MediaStream} stream */
      stream: (stream) => round === this.rounds.now && this.told.onStream(stream),
      /** @param {import("./wire.js").Said | null} message */
      message: (message) => round === this.rounds.now && message && this.told.onMessage(message),
      /** @param {string} why */
      lost: (why) => round === this.rounds.now && this.lost(why),
    };
    this.answered = false;
    this.endReason = "";
    this.failed = { said: "", detail: "" };
    try {
      await this.ladder.climb(this.server, known, callbacks, {
        sessionId,
        how,
        hold: (connection) => {
          this.rounds.check(round);
          this.connection = connection;
        },
        answered: (descriptor) => {
          this.rounds.check(round);
          if (!this.answered) this.entered(descriptor, { began: sessionId === null });
          this.answered = true;
        },
      });
      this.rounds.check(round);
    } catch (error) {
      if (round === this.rounds.now) this.connection?.close();
      throw error;
    }
    this.connected();
    setTimeout(() => {
      if (round !== this.rounds.now) return;
      this.hinting = true;
      this.describeWaiting();
    }, FIRST_FRAME_HINT_MS);
  }

  /** The picture is there, or the channels are: from now on people can do something. */
  connected() {
    if (!this.connection || this.announced === this.connection) return;
    this.announced = this.connection;
    this.hinting = false;
    this.describeWaiting(true);
    this.told.onConnected(this.connection, this.readiness.takeNews());
  }

  /** Say what to expect, and once some time passed without a frame what the model may be waiting for. */
  describeWaiting(begins = false) {
    if (!begins && this.view.name !== "waiting") return;
    const detail = this.hinting ? this.firstFrameNeeds() : this.expects;
    this.show("waiting", "Waiting for the first frame", detail, { busy: true, canStop: true });
  }

  /**
   * The connection went without a word: come back to the session while it is there.
   * @param {string} why
   */
  async lost(why) {
    this.told.onLost();
    if (this.endReason) return;
    const round = this.cancel();
    try {
      await this.back.run(round, { why, atMs: Date.now() });
    } catch (error) {
      if (!(error instanceof Cancelled) && round === this.rounds.now) this.fail(/** @type {Error} */ (error));
    }
  }

  /** @param {string} why */
  finish(why) {
    this.cancel();
    this.creator = false;
    this.show("ended", "Session ended", why, { canStart: true });
  }

  /** @param {Error} error */
  fail(error) {
    this.cancel();
    if (isLocked(error)) {
      this.show(
        "locked",
        "This model is protected",
        this.server.token
          ? (TOKEN[/** @type {ServerError} */ (error).code] ?? "This access token was not accepted. Check it and try again.")
          : "Enter the access token that the operator gave you.",
      );
      if (this.server.token) import("./without.js").then((it) => it.offerWithout(this), () => {});
    } else if (isOver(error)) {
      const text = "It ended before this page was connected. The operator's log says why.";
      this.show("ended", "Session ended", text, { canStart: true });
      this.tellWhatItRaised(/** @type {ServerError} */ (error).raised);
    } else {
      this.show("ended", "Could not connect", error.message, { canStart: true });
    }
  }

  /** A model that raises at once ends its session before anybody is connected: its author is told on asking. */
  async tellWhatItRaised(told = "") {
    const round = this.rounds.now;
    const raised = told || (this.descriptor ? await this.server.raised(this.descriptor.session_id) : "");
    if (raised && round === this.rounds.now) this.finish(ending("model_error", { said: "", detail: raised }));
  }

  /** Invalidate whatever is under way and close the connection. */
  cancel() {
    const round = this.rounds.next();
    this.connection?.close();
    if (this.connection) this.told.onLost();
    this.connection = null;
    return round;
  }

  /**
   * @param {ViewName} name
   * @param {string} title
   * @param {string} detail
   * @param {Offers} [can]
   */
  show(name, title, detail, can = {}) {
    const startText = TRYING.has(name) ? "Try now" : "Start";
    this.view = { name, title, detail, ...offers({ startText, ...can }) };
    this.told.onView(this.view);
  }
}

/**
 * @param {Offers} can
 * @returns {Required<Offers>}
 */
function offers({ canStart = false, canStop = false, busy = false, startText = "Start", loading = null }) {
  return { canStart, canStop, busy, startText, loading };
}

/** What a token of this server may lack, by the code of the refusal.
 * @type {Record<string, string>} */
const TOKEN = {
  token_expired: "The time of this access token is over. Ask whoever gave it to you for another.",
  token_not_yet: "This access token does not count yet. Try again later.",
};

/** @param {unknown} error */
const isLocked = (error) => error instanceof ServerError && error.isLocked;
