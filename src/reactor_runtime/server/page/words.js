/** What people read about a session's end and about a connection that went. Pure. */

/**
 * Why a session ended, by the server's code; anything else is the operator's own text.
 * @type {Record<string, string>}
 */
export const ENDINGS = {
  stopped: "It was stopped.",
  finished: "The model has finished.",
  moderated: "It was ended by the operator.",
  kicked: "The operator has shown you out.",
  turn_over: "Your turn is over.",
  timed_out: "Nobody was connected for a while, so it was closed.",
  model_error: "The model failed. The operator's log says why.",
  model_crashed: "The model's process crashed and is being restarted.",
  model_hung: "The model stopped responding and is being restarted.",
  out_of_memory: "The model ran out of memory and is being restarted.",
  "server stopped": "The server was shut down.",
};

/** @param {string} text */
export const capital = (text) => (text ? text.charAt(0).toUpperCase() + text.slice(1) : "");

/**
 * Why the session ended. `said` is what the server says of a failure, `detail` what the model raised, which it tells its
 * author only.
 * @param {string} reason
 * @param {{said: string, detail: string}} [failure]
 */
export function ending(reason, { said, detail } = { said: "", detail: "" }) {
  // Whoever killed it knows: that is no crash.
  if (reason === "model_crashed" && said.includes("killed")) return `${capital(said)} and is being restarted.`;
  const text = capital(ENDINGS[reason] ?? reason);
  return detail ? `${text} In the model: ${detail}` : text;
}

/** A session that is over so soon after its connection was not given up for being empty: they ended together. */
const TOGETHER_MS = 3_000;

/** @typedef {{why: string, atMs: number}} Loss what happened to a connection, and when */

/**
 * While the page tries to come back.
 * @param {Loss} loss
 * @param {number} nowMs
 * @param {{why: string, nextS: number | null}} now the last attempt's outcome, and when the next one comes
 */
export function comingBack(loss, nowMs, { why, nextS }) {
  const seconds = Math.round((nowMs - loss.atMs) / 1000);
  const still = why === loss.why ? "" : ` Now ${why}.`;
  const next = nextS === null ? "Trying now." : `Next try in ${duration(nextS * 1000)}.`;
  // A short hiccup needs no advice.
  const advice = seconds < 10 ? "" : " Check your network; this page goes on trying by itself.";
  return `${capital(loss.why)} at ${clock(loss.atMs)}, ${duration(nowMs - loss.atMs)} ago.${still}${advice} ${next}`;
}

/**
 * While the browser says that it is offline.
 * @param {number} atMs
 */
export function offlineSince(atMs) {
  return `Since ${clock(atMs)}. This page comes back by itself as soon as your network does.`;
}

/**
 * The session was over when the page came back.
 * @param {Loss} loss
 * @param {number} nowMs
 */
export function endedMeanwhile(loss, nowMs) {
  if (nowMs - loss.atMs < TOGETHER_MS)
    return `It ended at ${clock(loss.atMs)}, and the connection with it. The operator's log says why.`;
  return (
    `${capital(loss.why)} at ${clock(loss.atMs)}, and this page was away for ` +
    `${duration(nowMs - loss.atMs)}. Meanwhile the session ended: it is kept only for a short while when ` +
    `nobody is connected. Start begins a new one.`
  );
}

/** @param {number} ms */
const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour12: false });

/**
 * "45 s" or "3 minutes", with a space at which no line breaks.
 * @param {number} ms
 */
export function duration(ms) {
  const seconds = Math.round(ms / 1000);
  return seconds < 120 ? `${seconds}\u00a0s` : `${Math.round(seconds / 60)}\u00a0minutes`;
}
