/**
 * What a tab remembers of its sessions, also when it is loaded again: the one it began, and the one it was in
 * last. Without storage, as in some privacy modes, it lasts as long as the page.
 */

/** @typedef {{path: string, redacted: boolean}} LogTicket where a session's log is fetched */
/** @typedef {{session_id?: string, session_log?: LogTicket}} Created */

const CREATED_KEY = "reactor.created";
const VISITED_KEY = "reactor.visited";

export class Remembered {
  constructor() {
    /** @type {Created} */
    this.created = readCreated();
    /** The session that this tab was in last, or "". */
    this.visited = read(VISITED_KEY);
  }

  /** @param {string} sessionId */
  began(sessionId) {
    return this.created.session_id === sessionId;
  }

  /**
   * This tab is in a session from now on.
   * @param {string} sessionId
   */
  visit(sessionId) {
    this.visited = sessionId;
    write(VISITED_KEY, sessionId);
  }

  /** @param {Created} descriptor */
  begin({ session_id, session_log }) {
    this.created = { session_id, session_log };
    write(CREATED_KEY, JSON.stringify(this.created));
  }
}

function readCreated() {
  try {
    return JSON.parse(read(CREATED_KEY)) ?? {};
  } catch {
    return {};
  }
}

/** @param {string} key */
function read(key) {
  try {
    return sessionStorage.getItem(key) ?? "";
  } catch {
    return "";
  }
}

/**
 * @param {string} key
 * @param {string} value
 */
function write(key, value) {
  try {
    sessionStorage.setItem(key, value);
  } catch {
    // Nothing to do: see above.
  }
}
