/**
 * From a command's send time to the displayed frame that carries it. Pure: times come in as milliseconds.
 *
 * The server names the RTP timestamp of the first frame that saw a command (`commandShown`); the browser
 * names the RTP timestamp of every frame it displays. Either may come first, so both wait for the other here.
 */

/**
 * @typedef {{rtp: number | null, displayMs: number, receivedMs: number | null, decodeMs: number | null,
 *   presented: number | null}} Frame
 * @typedef {{requestId: string, command: string, delayMs: number, exact: boolean, sentMs: number,
 *   frame: Frame | null, times: import("./breakdown.js").Times | null}} Delay
 */

const HALF_RTP_RANGE = 2 ** 31;
const FRAMES_KEPT = 600;
const DELAYS_KEPT = 120;
/** A command whose frame was never displayed within this time is given up. */
const GIVE_UP_MS = 20_000;

/**
 * Whether RTP timestamp `a` is `b` or later, with wrap-around at 2^32 (RFC 1982 arithmetic).
 * @param {number} a
 * @param {number} b
 */
export function rtpAtLeast(a, b) {
  return (a - b) >>> 0 < HALF_RTP_RANGE;
}

/**
 * The middle of `values`, or null when there are none.
 * @param {number[]} values
 */
export function median(values) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * The displayed frames of one connection: `{rtp, displayMs, receivedMs}`, newest last, bounded; oldest
 * dropped.
 */
export class DisplayedFrames {
  constructor() {
    /** @type {Frame[]} */
    this.frames = [];
    this.total = 0;
  }

  /** @param {Frame} frame */
  add(frame) {
    this.total += 1;
    this.frames.push(frame);
    if (this.frames.length > FRAMES_KEPT) this.frames.splice(0, this.frames.length - FRAMES_KEPT);
  }

  /** Forget everything: RTP timestamps of another connection do not compare. */
  clear() {
    this.frames.length = 0;
  }

  /**
   * The first displayed frame at or after `rtp` that was displayed no earlier than `sinceMs`.
   * @param {number} rtp
   * @param {number} sinceMs
   */
  firstAtLeast(rtp, sinceMs) {
    return this.frames.find(
      (frame) => frame.displayMs >= sinceMs && frame.rtp !== null && rtpAtLeast(frame.rtp, rtp),
    );
  }

  /**
   * The displayed frame with exactly this timestamp.
   * @param {number} rtp
   */
  find(rtp) {
    return this.frames.findLast((frame) => frame.rtp === rtp);
  }

  /**
   * Frames displayed per second over the `windowMs` before `nowMs`.
   * @param {number} nowMs
   */
  rate(nowMs, windowMs = 1000) {
    const count = this.frames.filter((frame) => frame.displayMs > nowMs - windowMs).length;
    return (count * 1000) / windowMs;
  }

  /**
   * The longest pause between two displayed frames within the last `windowMs`.
   * @param {number} nowMs
   */
  longestGapMs(nowMs, windowMs = 10_000) {
    const recent = this.frames.filter((frame) => frame.displayMs > nowMs - windowMs);
    let longest = 0;
    for (let i = 1; i < recent.length; i += 1) {
      longest = Math.max(longest, recent[i].displayMs - recent[i - 1].displayMs);
    }
    return longest;
  }
}

/**
 * Match commands with the frames that show them. `onDelay({requestId, command, delayMs, exact})` is called
 * once per command; `exact` is false when the frame could not be identified and the notice's arrival stands
 * in for it.
 */
export class DelayTracker {
  /**
   * @param {DisplayedFrames} frames
   * @param {(delay: Delay) => void} onDelay
   */
  constructor(frames, onDelay) {
    this.frames = frames;
    this.onDelay = onDelay;
    /**
     * @type {Map<string, {command: string, sentMs: number, rtp: number | null,
     *   times: import("./breakdown.js").Times | null}>}
     */
    this.pending = new Map();
    /** @type {number[]} */
    this.delays = [];
  }

  /**
   * @param {string} requestId
   * @param {string} command
   * @param {number} nowMs
   */
  sent(requestId, command, nowMs) {
    this.forget(nowMs);
    this.pending.set(requestId, { command, sentMs: nowMs, rtp: null, times: null });
  }

  /**
   * The command was refused, so nothing will show it.
   * @param {string} requestId
   */
  drop(requestId) {
    this.pending.delete(requestId);
  }

  /**
   * `commandShown` arrived.
   * @param {string} requestId
   * @param {number | null} rtp
   * @param {number} nowMs
   * @param {import("./breakdown.js").Times | null} [times] when the picture was where
   */
  shown(requestId, rtp, nowMs, times = null) {
    const entry = this.pending.get(requestId);
    if (!entry) return;
    if (typeof rtp !== "number" || typeof this.frames.frames.at(-1)?.rtp !== "number") {
      this.finish(requestId, nowMs, null);
      return;
    }
    entry.rtp = rtp >>> 0;
    entry.times = times;
    const frame = this.frames.firstAtLeast(entry.rtp, entry.sentMs);
    if (frame) this.finish(requestId, frame.displayMs, frame);
  }

  /**
   * A frame was displayed (already added to the frames).
   * @param {Frame} frame
   */
  frame(frame) {
    if (frame.rtp === null) return;
    for (const [requestId, entry] of this.pending) {
      if (entry.rtp !== null && rtpAtLeast(frame.rtp, entry.rtp))
        this.finish(requestId, frame.displayMs, frame);
    }
  }

  /** The connection went: nothing sent on it will be seen. */
  clear() {
    this.pending.clear();
  }

  /**
   * @param {string} requestId
   * @param {number} displayMs
   * @param {Frame | null} frame null where it could not be identified
   */
  finish(requestId, displayMs, frame) {
    const entry = this.pending.get(requestId);
    if (!entry) return;
    const { command, sentMs, times } = entry;
    this.pending.delete(requestId);
    const delayMs = Math.max(0, displayMs - sentMs);
    this.delays.push(delayMs);
    if (this.delays.length > DELAYS_KEPT) this.delays.shift();
    this.onDelay({ requestId, command, delayMs, exact: frame !== null, sentMs, frame, times });
  }

  /** @param {number} nowMs */
  forget(nowMs) {
    for (const [requestId, entry] of this.pending) {
      if (nowMs - entry.sentMs > GIVE_UP_MS) this.pending.delete(requestId);
    }
  }
}
