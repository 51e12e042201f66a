/**
 * The runtime's HTTP surface, relative to the address of the page, so that it also works behind a path
 * prefix. Every call has a deadline, and every failure becomes a `ServerError` with words for people.
 */

import { brought } from "./brought.js";
import { remember, takeSecret } from "./secrets.js";

const CALL_MS = 8_000;
const UPLOAD_MS = 60_000;
const SEGMENT_MS = 30_000;
const CLIENT = { sdk_version: "0.1.0", sdk_type: "js" };

/**
 * @typedef {{model: string, part: number, parts: number, fraction: number | null, elapsedS: number}} Loading how
 *   far a load is: which of how many parts, how much of it, for how long
 * @typedef {{ok: boolean, state: string, detail: string, instance: string, loading: Loading | null}} Health
 *   `instance` is another one after each start of the server
 * @typedef {{name: string, kind: "video" | "audio", direction: "recvonly" | "sendonly"}} Capability
 * @typedef {{session_id: string, state: string}} Listed a session that runs
 * @typedef {{health: Health, running: Descriptor, document: object, iceServers: RTCIceServer[],
 *   sessions: Listed[]}} Overview
 * @typedef {{session_id: string, state: string, capabilities?: {tracks?: Capability[]},
 *   recording?: {enabled: boolean}, session_log?: import("./remembered.js").LogTicket}} Descriptor
 * @typedef {{upload_id: string, name: string, mime_type: string, size: number}} UploadReference
 */

/** `status` is the HTTP status, or 0 when nothing answered. */
export class ServerError extends Error {
  /**
   * @param {string} message
   * @param {{status?: number, isLocked?: boolean, isRefused?: boolean, raised?: string, code?: string}} [about] `isLocked`: the token is missing or
   *   wrong; `isRefused`: nothing is there, as far as the browser can tell; `raised`: what the model raised in that
   *   session, for its author only
   */
  constructor(message, { status = 0, isLocked = false, isRefused = false, raised = "", code = "" } = {}) {
    super(message);
    this.isRefused = isRefused;
    this.raised = raised;
    this.status = status;
    this.isLocked = isLocked;
    this.code = code;
  }
}

/**
 * Whether the session that was spoken of is not there any more.
 * @param {unknown} error
 */
export const isOver = (error) => error instanceof ServerError && (error.status === 400 || error.status === 404);

export class Server {
  /** @param {URL} [base] */
  constructor(base) {
    this.token = takeSecret("token");
    this.base = base ?? new URL(".", location.href);
    /** What shows that the model's author opened the page, from the address that `reactor run` printed. */
    this.author = takeSecret("author");
    this.seat = ""; // the session whose wheel this page has, and what shows that
    /** The session that this tab was in last: while it runs, the overview is of that one. */
    this.visited = "";
    /** A session that somebody else left behind: it ends where the next one begins. */
    this.left = "";
    /** What this page may do: watch, vote, drive or operate, each with what those before it may. */
    this.role = "operate";
    /** Whether one may wait for a turn. */
    this.hasLine = false;
    /** @type {string[]} For which roles links can be made from here. */
    this.shares = [];
  }

  get mayDrive() {
    return this.role === "drive" || this.role === "operate";
  }

  /**
   * Keep a token for this tab.
   * @param {string} token
   */
  setToken(token) {
    this.token = token;
    remember("token", token);
  }

  /**
   * The address to give to somebody else. Where a token is needed it is in the part that browsers send to nobody.
   * @param {string} [token]
   */
  link(token = this.token) {
    const link = new URL(location.href);
    if (token) link.hash = new URLSearchParams({ token }).toString();
    return link.href;
  }

  /**
   * An unhealthy server answers too, with `ok` = false.
   * @param {{timeoutMs?: number}} [how]
   * @returns {Promise<Health>}
   */
  async health({ timeoutMs } = {}) {
    return healthOf(await json(await this.call("GET", "health", { accept: [503], timeoutMs })));
  }

  /**
   * All that is needed to make an offer, in one answer.
   * @param {{timeoutMs?: number, signal?: AbortSignal}} [how]
   * @returns {Promise<Overview>}
   */
  async overview({ timeoutMs, signal } = {}) {
    const path = this.visited ? `overview?session_id=${encodeURIComponent(this.visited)}` : "overview";
    // What came with the page is told to whoever shows no token.
    const body = (this.token ? null : brought(this.visited)) ?? (await json(await this.call("GET", path, { timeoutMs, signal })));
    this.role = body.role ?? this.role;
    this.hasLine = Boolean(body.line);
    this.shares = body.shares ?? [];
    return {
      health: healthOf(body.health ?? {}),
      running: body.session ?? {},
      sessions: body.sessions ?? [],
      document: body.schema ?? {},
      iceServers: iceServersOf(body.ice_servers ?? []),
    };
  }

  /**
   * @param {string} sessionId
   * @returns {Promise<Descriptor>}
   */
  async session(sessionId) {
    return json(await this.call("GET", `session?session_id=${encodeURIComponent(sessionId)}`));
  }

  /** @returns {Promise<Descriptor>} */
  async startSession() {
    if (this.left) await this.stopSession(this.left);
    const made = await json(await this.call("POST", "start_session", { body: {} }));
    if (made.seat) this.keepSeat(made.session_id, made.seat);
    return made;
  }

  /**
   * Where a session's WebSocket is, and how a token is said there: pages can set no header of it.
   * @param {string} sessionId
   */
  mediaAddress(sessionId) {
    const url = new URL(`sessions/${encodeURIComponent(sessionId)}/media`, this.base);
    url.protocol = url.protocol.replace("http", "ws");
    const secret = btoa(String.fromCharCode(...new TextEncoder().encode(this.token)));
    const spoken = secret.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
    const secrets = [`reactor.seat.${this.seatIn(sessionId)}`, ...(this.token ? [`reactor.token.${spoken}`] : [])];
    return { url: url.href, protocols: ["reactor.media.v1", ...secrets] };
  }

  /**
   * A token for a link, for whoever may operate.
   * @param {string} role
   * @param {number} forS
   * @returns {Promise<string>}
   */
  async makeToken(role, forS) {
    return (await json(await this.call("POST", "tokens", { body: { role, for_s: forS } }))).token;
  }

  /** @param {string | undefined} sessionId */
  async stopSession(sessionId) {
    await this.call("POST", "stop_session", { body: { session_id: sessionId }, accept: [400, 404, 409] });
  }

  /**
   * Join a session, or start one, with an offer; the answer comes with it.
   * @param {{sessionId: string | null, sdp: string, mapping: object[]}} what
   * @param {AbortSignal} signal
   * @returns {Promise<{descriptor: Descriptor, connectionId: number, answer: string}>}
   */
  async connect({ sessionId, sdp, mapping }, signal) {
    const body = {
      session_id: sessionId ?? undefined,
      instead_of: (sessionId === null && this.left) || undefined,
      seat: this.seatIn(sessionId) || undefined,
      sdp_offer: sdp,
      client_info: CLIENT,
      track_mapping: mapping,
    };
    const made = await json(await this.call("POST", "connect", { body, signal }));
    if (made.seat) this.keepSeat(made.session.session_id, made.seat);
    return { descriptor: made.session, connectionId: made.connection_id, answer: made.sdp_answer };
  }

  /**
   * What shows that the wheel of this session is this tab's: also after it was loaded again, or lost its connection.
   * @param {string | null} sessionId
   */
  seatIn(sessionId) {
    const [session, seat] = this.seat.split(" ");
    return session === sessionId ? seat : "";
  }

  /**
   * @param {string} sessionId
   * @param {string} seat
   */
  keepSeat(sessionId, seat) {
    this.seat = `${sessionId} ${seat}`;
  }

  /**
   * Whether a session is over.
   * @param {string} sessionId
   */
  async isOver(sessionId) {
    try {
      await this.call("GET", `${transport(sessionId)}/ice_servers`);
      return false;
    } catch (error) {
      return isOver(error);
    }
  }

  /**
   * What the model raised in a session that is over; only its author is told. Asked with a POST, because browsers
   * say with no GET to their page's own server where the page is.
   * @param {string} sessionId
   * @returns {Promise<string>}
   */
  async raised(sessionId) {
    try {
      await this.call("POST", `${transport(sessionId)}/connections`, { body: {} });
      return "";
    } catch (error) {
      return error instanceof ServerError ? error.raised : "";
    }
  }

  /**
   * @param {string} sessionId
   * @param {number} connectionId
   * @param {object[]} candidates
   * @param {boolean} isFinal
   */
  async candidates(sessionId, connectionId, candidates, isFinal) {
    const body = { candidates, is_final: isFinal, client_info: CLIENT };
    await this.call("POST", `${transport(sessionId)}/connections/${connectionId}/ice_candidates`, { body });
  }

  /**
   * Upload a file and return the reference that a command carries.
   * @param {string} sessionId
   * @param {Blob} blob
   * @param {string} name
   * @returns {Promise<UploadReference>}
   */
  async upload(sessionId, blob, name) {
    const mimeType = blob.type || "application/octet-stream";
    const body = { name, size: blob.size, mime_type: mimeType };
    const slot = await json(
      await this.call("POST", `sessions/${encodeURIComponent(sessionId)}/uploads`, { body }),
    );
    // The address is as the server believes it; below our own we know better, whatever proxy is in front.
    const { pathname } = new URL(slot.presigned_url, this.base);
    const put = await this.call("PUT", pathname.slice(pathname.indexOf("/sessions/") + 1), {
      raw: blob,
      timeoutMs: UPLOAD_MS,
    });
    await put.body?.cancel();
    return { upload_id: slot.presigned_id, name, mime_type: mimeType, size: blob.size };
  }

  /**
   * Fetch the log of a session, as far as it goes by now.
   * @param {string} path
   */
  async sessionLog(path) {
    return (await this.call("GET", path, { timeoutMs: SEGMENT_MS })).blob();
  }

  /**
   * One request. Throws ServerError for a status that is neither 2xx nor in `accept`.
   * @param {string} method
   * @param {string} path
   * @param {{body?: object, raw?: Blob, accept?: number[], timeoutMs?: number, signal?: AbortSignal}} [how]
   */
  async call(method, path, { body, raw, accept = [], timeoutMs = CALL_MS, signal } = {}) {
    /** @type {Record<string, string>} */
    const headers = {
      "Reactor-API-Version": "1",
      "Reactor-API-Accept-Version": "1",
      "Reactor-WebRTC-Version": "1.0",
    };
    // Not Authorization, which a proxy in front may need for a password of its own.
    if (this.token) headers["X-Reactor-Token"] = this.token;
    if (this.author) headers["X-Reactor-Author"] = this.author;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const deadline = AbortSignal.timeout(timeoutMs);
    let response;
    try {
      response = await fetch(new URL(path, this.base), {
        method,
        headers,
        cache: "no-store",
        credentials: "same-origin",
        body: raw ?? (body === undefined ? undefined : JSON.stringify(body)),
        signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ServerError("The server does not answer.", { isRefused: !deadline.aborted });
    }
    if (response.ok || accept.includes(response.status)) return response;
    // A proxy in front may ask for a password, which is not our token.
    const isLocked = response.status === 401 && /bearer/i.test(response.headers.get("WWW-Authenticate") ?? "");
    const said = await json(response);
    const [code, raised] = [String(said.code ?? ""), String(said.raised ?? "")];
    throw new ServerError(reason(response, said), { status: response.status, isLocked, code, raised });
  }
}

/**
 * @param {any} body
 * @returns {Health}
 */
const healthOf = ({ status, state, detail, instance, loading }) => ({
  ok: status === "healthy",
  state: String(state ?? ""),
  detail: String(detail ?? ""),
  instance: String(instance ?? ""),
  loading: loadingOf(loading),
});

/**
 * @param {{uris: string[], credentials?: {username: string, password: string}}[]} servers
 * @returns {RTCIceServer[]}
 */
const iceServersOf = (servers) =>
  servers.map(({ uris, credentials }) => ({
    urls: uris,
    ...(credentials && { username: credentials.username, credential: credentials.password }),
  }));

/** @param {string} sessionId */
const transport = (sessionId) => `sessions/${encodeURIComponent(sessionId)}/transport/webrtc`;

/**
 * @param {Response} response
 * @returns {Promise<any>} an object, empty where the answer holds none
 */
async function json(response) {
  try {
    const value = await response.json();
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}

/**
 * @param {any} told
 * @returns {Loading | null}
 */
function loadingOf(told) {
  if (typeof told !== "object" || told === null) return null;
  return {
    model: String(told.model ?? ""),
    part: Number(told.part ?? 0),
    parts: Number(told.parts ?? 0),
    fraction: typeof told.fraction === "number" ? told.fraction : null,
    elapsedS: Number(told.elapsed_s ?? 0),
  };
}

/**
 * @param {Response} response
 * @param {{detail?: unknown}} body
 */
function reason(response, { detail }) {
  if (typeof detail === "string" && detail) return detail;
  if (Array.isArray(detail) && detail.length > 0)
    return detail.map((entry) => entry?.msg ?? String(entry)).join("; ");
  return `The server answered ${response.status} ${response.statusText}`.trim();
}
