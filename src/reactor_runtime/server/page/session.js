/**
 * The life of a viewer: waiting for the model, starting or joining its session, coming back after a loss,
 * ending.
 *
 * One loop at a time drives it; starting or stopping cancels the one before. What people see is `view`, a
 * plain value handed to `onView` whenever it changes:
 *   {name, title, detail, canStart, canStop, busy}
 *   name: loading | failed | gone | locked | connecting | waiting | live | reconnecting | ended
 */

import { Connection } from "./connection.js";
import { ServerError } from "./server.js";

const RUNNING = new Set(["waiting", "streaming", "orphaned"]);
const POLL_MS = 700;
const POLL_FAILED_MS = 3_000;
const BUSY_MS = 200;
/** Pauses before each attempt to come back, in seconds; the last one repeats. */
const RETRY_S = [0.5, 1, 2, 4, 8];
/** A session that is just closing is over within the stop limit of the server. */
const CLOSING_MS = 15_000;
const FIRST_FRAME_HINT_MS = 3_000;
const CREATED_KEY = "reactor.created";

/** Why a session ended, by the server's code; anything else is the operator's own text. */
export const ENDINGS = {
  stopped: "It was stopped.",
  finished: "The model has finished.",
  moderated: "It was ended by the operator.",
  timed_out: "Nobody was connected for a while, so it was closed.",
  model_error: "The model failed. The operator's log says why.",
  model_crashed: "The model's process crashed and is being restarted.",
  model_hung: "The model stopped responding and is being restarted.",
  out_of_memory: "The model ran out of memory and is being restarted.",
  "server stopped": "The server was shut down.",
};

export class Session {
  constructor(server, { onView, onSchema, onStream, onMessage, onConnected, onLost }) {
    Object.assign(this, { server, onView, onSchema, onStream, onMessage, onConnected, onLost });
    this.view = { name: "loading", title: "", detail: "" };
    this.connection = null;
    this.descriptor = null;
    this.creator = false;
    /** Where the log of the last session that this page began is fetched: {path, redacted}. */
    this.log = null;
    this.endReason = "";
    this.round = 0;
    this.schemaReady = false;
  }

  /** Begin: wait for the model, then start or join its session. Cancels what was under way. */
  async start() {
    const round = this.cancel();
    try {
      const { running, document } = await this.untilReady(round);
      // The session's request is on its way before the controls are built.
      const entering = this.enter(round, running);
      if (document) this.useSchema(document);
      await entering;
    } catch (error) {
      if (error instanceof Cancelled || round !== this.round) return;
      this.fail(error);
    }
  }

  /** Leave; ends the session if this page began it. */
  async stop() {
    const created = this.creator;
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
      await this.server.stopSession();
    } catch {
      // The session ends by itself when nobody is connected.
    }
  }

  /** The first frame of this connection is on the screen. */
  firstFrame() {
    if (this.view.name === "waiting") this.show("live", "Live", "", { canStop: true });
  }

  /** The server said why it is about to close the session. */
  ended(reason) {
    this.endReason = reason || "stopped";
    this.finish();
  }

  /** Wait for the model. Return its session as it is now, and its schema unless that was used already. */
  async untilReady(round) {
    for (let missed = 0; ; missed += 1) {
      try {
        const [health, running, document] = await Promise.all([
          this.server.health(),
          this.server.session(),
          this.schemaReady ? null : this.server.schema(),
        ]);
        this.check(round);
        missed = 0;
        const loading = ["created", "loading"].includes(health.state);
        if (health.ok && !loading) return { running, document };
        if (document?.paths) this.useSchema(document);
        if (loading) {
          this.show(
            "loading",
            "Loading the model",
            health.detail || "This can take a few minutes the first time.",
            { busy: true },
          );
        } else {
          this.show(
            "failed",
            "The model is not available",
            capital(health.detail) || "The operator's log has the details.",
            {},
          );
        }
        await this.pause(round, loading ? POLL_MS : POLL_FAILED_MS);
      } catch (error) {
        this.check(round);
        if (!(error instanceof ServerError) || isLocked(error)) throw error;
        await this.countdown(round, RETRY_S[Math.min(missed + 1, RETRY_S.length - 1)], (left) => {
          this.show(
            "gone",
            "The server is not reachable",
            `Is it still running, and is this address right? Trying again in ${left} s.`,
            { canStart: true },
          );
        });
      }
    }
  }

  useSchema(document) {
    this.schemaReady = true;
    this.onSchema(document);
  }

  /** Join the session that runs or start one; one that is closing is waited for. */
  async enter(round, running) {
    this.show("connecting", "Connecting", "", { busy: true, canStop: true });
    const untilMs = performance.now() + CLOSING_MS;
    for (;;) {
      try {
        await this.startOrJoin(round, running);
        break;
      } catch (error) {
        this.check(round);
        const wait = error instanceof ServerError && (error.status === 409 || error.status === 503);
        if (!wait || performance.now() > untilMs) throw error;
        this.show("connecting", "Waiting for the model", capital(error.message), {
          busy: true,
          canStop: true,
        });
        await this.pause(round, BUSY_MS);
        ({ running } = await this.untilReady(round));
      }
    }
    await this.connect(round, { again: false });
  }

  async startOrJoin(round, running) {
    // A session that somebody else left behind may still be theirs for the orphan time, but a stranger must not find
    // their state in it: it is ended, and a fresh one begins.
    const left = running.state === "orphaned" && !wasCreated(running.session_id);
    if (left) await this.server.stopSession();
    const join = !left && RUNNING.has(running.state) && running.capabilities;
    const descriptor = join ? running : await this.server.startSession();
    this.check(round);
    this.descriptor = descriptor;
    this.creator = join ? wasCreated(descriptor.session_id) : true;
    if (!join) rememberCreated(descriptor);
    this.log = this.creator ? createdLog() : null;
  }

  async connect(round, { again }) {
    const connection = new Connection(this.server, this.descriptor, {
      stream: (stream) => round === this.round && this.onStream(stream),
      message: (message) => round === this.round && message && this.onMessage(message),
      lost: (why) => round === this.round && this.lost(why),
    });
    this.connection = connection;
    this.endReason = "";
    try {
      await connection.open({ again });
      this.check(round);
    } catch (error) {
      connection.close();
      throw error;
    }
    this.show("waiting", "Waiting for the first frame", "", { busy: true, canStop: true });
    this.onConnected(connection);
    setTimeout(() => {
      if (round !== this.round || this.view.name !== "waiting") return;
      this.show(
        "waiting",
        "Waiting for the first frame",
        "This model may need a command to begin, such as a prompt.",
        { busy: true, canStop: true },
      );
    }, FIRST_FRAME_HINT_MS);
  }

  /** The connection went without a word: come back to the session while it is there. */
  async lost(why) {
    this.onLost();
    if (this.endReason) return;
    const round = this.cancel();
    try {
      await this.comeBack(round, why);
    } catch (error) {
      if (!(error instanceof Cancelled) && round === this.round) this.fail(error);
    }
  }

  async comeBack(round, why) {
    for (let attempt = 0; ; attempt += 1) {
      await this.countdown(round, RETRY_S[Math.min(attempt, RETRY_S.length - 1)], (left) => {
        this.show("reconnecting", "Reconnecting", `${capital(why)}. Next try in ${left} s.`, {
          busy: true,
          canStart: true,
          canStop: true,
        });
      });
      try {
        this.show("reconnecting", "Reconnecting", `${capital(why)}.`, { busy: true, canStop: true });
        const running = await this.server.session();
        this.check(round);
        if (!RUNNING.has(running.state) || running.session_id !== this.descriptor.session_id) {
          this.finish();
          return;
        }
        this.descriptor = running;
        await this.connect(round, { again: true });
        return;
      } catch (error) {
        this.check(round);
        if (isLocked(error)) throw error;
        if (error instanceof ServerError && (error.status === 400 || error.status === 404)) {
          this.finish();
          return;
        }
        why =
          error instanceof ServerError && error.status === 0
            ? "the server does not answer"
            : error.message.replace(/\.$/, "");
      }
    }
  }

  /** Show the end; the model may be needed again, so its health is read for the words. */
  finish() {
    this.cancel();
    this.creator = false;
    const reason = this.endReason
      ? (ENDINGS[this.endReason] ?? this.endReason)
      : "It ended while you were away.";
    this.show("ended", "Session ended", capital(reason), { canStart: true });
  }

  fail(error) {
    this.cancel();
    if (isLocked(error)) {
      this.show(
        "locked",
        "This model is protected",
        this.server.token
          ? "This access token was not accepted. Check it and try again."
          : "Enter the access token that the operator gave you.",
        {},
      );
    } else {
      this.show("ended", "Could not connect", error.message, { canStart: true });
    }
  }

  /** Invalidate whatever is under way and close the connection. */
  cancel() {
    this.round += 1;
    this.connection?.close();
    if (this.connection) this.onLost();
    this.connection = null;
    return this.round;
  }

  check(round) {
    if (round !== this.round) throw new Cancelled();
  }

  async pause(round, ms) {
    await new Promise((done) => setTimeout(done, ms));
    this.check(round);
  }

  async countdown(round, seconds, tell) {
    for (let left = seconds; left > 0; left -= 1) {
      tell(Math.ceil(left));
      await this.pause(round, Math.min(left, 1) * 1000);
    }
  }

  show(name, title, detail, { canStart = false, canStop = false, busy = false } = {}) {
    this.view = { name, title, detail, canStart, canStop, busy };
    this.onView(this.view);
  }
}

class Cancelled extends Error {}

const isLocked = (error) => error instanceof ServerError && (error.status === 401 || error.status === 403);

const capital = (text) => (text ? text[0].toUpperCase() + text.slice(1) : "");

// A page that is loaded again stays the creator of the session it began.
let created = recallCreated();

const wasCreated = (sessionId) => created.session_id === sessionId;

const createdLog = () => created.session_log ?? null;

function recallCreated() {
  try {
    return JSON.parse(sessionStorage.getItem(CREATED_KEY)) ?? {};
  } catch {
    return {};
  }
}

function rememberCreated({ session_id, session_log }) {
  created = { session_id, session_log };
  try {
    sessionStorage.setItem(CREATED_KEY, JSON.stringify(created));
  } catch {
    // Without storage a reloaded page joins as a guest.
  }
}
