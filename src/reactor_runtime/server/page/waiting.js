/**
 * One's place in the line: a ticket, followed until it is one's turn or it is gone.
 *
 *   join() ─▶ waiting ─▶ claim ─▶ claim() ─▶ where one drives
 *                │ leave()   │ too late
 *                ▼           ▼
 *               gone        gone
 *
 * The server says each change at once on a stream: timers of a page in the background sleep, a stream does not. Where
 * something between holds the stream up, it is asked again and again. The ticket stands in the tab's storage, so that a
 * page that is loaded again keeps its place.
 */

const KEY = "reactor.ticket";
/** A stream that says nothing for so long is held up somewhere: the server sends a line at least every ten seconds. */
const SILENT_MS = 25_000;
/** Nobody waits longer than this. */
const STREAM_MS = 86_400_000;
/** Its first line comes at once. */
const FIRST_MS = 4_000;
const POLL_S = 2;
/** A model is made new for each who drives. */
const CLAIM_MS = 60_000;
/** How long a place is kept of which nothing is heard. */
const KEPT_MS = 60_000;

/**
 * @typedef {{ticket?: string, state: string, place?: number, estimate_s?: import("./standing.js").Estimate, poll_s?: number,
 *   claim_by_s?: number, reason?: string, session_id?: string}} Told
 * @typedef {{session_id: string, seat: string}} Claimed
 * @typedef {{call: (method: string, path: string, how?: object) => Promise<Response>}} Asked
 */

export class Waiting {
  /**
   * @param {Asked} server
   * @param {(told: Told | null) => void} onChange null once there is no ticket any more
   */
  constructor(server, onChange) {
    this.server = server;
    this.onChange = onChange;
    this.ticket = remembered();
    this.abort = new AbortController();
    if (this.ticket) this.follow(this.ticket);
  }

  /**
   * Get in line. Rejects with words.
   * @param {string} [sessionId] what one would like to drive, if there are several
   */
  async join(sessionId) {
    if (this.ticket) return;
    /** @type {Told} */
    const told = await (await this.server.call("POST", "line", { body: { session_id: sessionId } })).json();
    this.ticket = told.ticket ?? "";
    remember(this.ticket);
    this.onChange(told);
    this.follow(this.ticket);
  }

  /** Out of the line. */
  async leave() {
    const { ticket } = this;
    this.end();
    this.onChange(null);
    // A place of which nothing is heard is given up by itself.
    await this.server.call("DELETE", `line/${ticket}`, { accept: [404] }).catch(() => {});
  }

  /**
   * Take one's turn. Rejects with words: where it was too late, and where the model could not be made ready, which leaves
   * the place as the next one.
   * @returns {Promise<Claimed>}
   */
  async claim() {
    const how = { body: {}, timeoutMs: CLAIM_MS };
    const claimed = await (await this.server.call("POST", `line/${this.ticket}/claim`, how)).json();
    this.end();
    this.onChange(null);
    return claimed;
  }

  /** @param {string} ticket */
  async follow(ticket) {
    this.abort = new AbortController();
    const { signal } = this.abort;
    let heardMs = performance.now();
    let pollS = POLL_S;
    const path = `line/${ticket}`;
    /** @param {Told} told */
    const take = (told) => {
      heardMs = performance.now();
      pollS = told.poll_s ?? pollS;
      if (!signal.aborted) this.take(told);
    };
    while (!signal.aborted) {
      try {
        await this.listen(path, signal, take);
        if (!signal.aborted) take(await (await this.server.call("GET", path, { signal })).json());
      } catch (error) {
        if (signal.aborted) return;
        const isUnknown = /** @type {{status?: number}} */ (error).status === 404;
        if (isUnknown || performance.now() - heardMs > KEPT_MS)
          take({ state: "gone", reason: "Your place in the line is gone." });
      }
      await new Promise((done) => setTimeout(done, pollS * 1000));
    }
  }

  /**
   * Read the stream until it ends, or says nothing any more.
   * @param {string} path
   * @param {AbortSignal} signal
   * @param {(told: Told) => void} take
   */
  async listen(path, signal, take) {
    const silence = new AbortController();
    let timer = setTimeout(() => silence.abort(), FIRST_MS);
    try {
      const response = await this.server.call("GET", `${path}/events`, {
        signal: AbortSignal.any([signal, silence.signal]),
        timeoutMs: STREAM_MS,
      });
      for await (const told of documents(response)) {
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENT_MS);
        if (told) take(told);
      }
    } catch (error) {
      if (!silence.signal.aborted) throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** @param {Told} told */
  take(told) {
    if (told.state === "gone" || told.state === "driving") this.end();
    this.onChange(told);
  }

  end() {
    this.abort.abort();
    this.ticket = "";
    remember("");
  }
}

/**
 * The documents of a stream of events; null for a line that only says that it is alive.
 * @param {Response} response
 * @returns {AsyncGenerator<Told | null>}
 */
export async function* documents(response) {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = (await reader?.read()) ?? { done: true };
    if (done) return;
    const lines = (rest + value).split(/\r?\n/);
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line.startsWith("data:")) yield JSON.parse(line.slice(5));
      else if (line.startsWith(":")) yield null;
    }
  }
}

// Storage is refused in some privacy modes; then a ticket lives as long as the page.
function remembered() {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

/** @param {string} ticket */
function remember(ticket) {
  try {
    if (ticket) sessionStorage.setItem(KEY, ticket);
    else sessionStorage.removeItem(KEY);
  } catch {
    // Nothing to do: see above.
  }
}
