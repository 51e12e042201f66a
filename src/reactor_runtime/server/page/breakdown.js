/**
 * What each part of the way from a press to its picture took, so that the parts add up to the whole. Pure: times
 * come in as milliseconds, the server's own beside them.
 *
 *   press ─uplink─▶ server ─waiting─▶ model ─▶ waiting ─encode─▶ network ─▶ decode ─▶ display
 *
 * The whole, the time in the server and the time in the browser are each measured on one clock. What is left was on
 * the way; only how it splits into there and back rests on the server's clock as it is read here.
 */

import { rtpAtLeast } from "./latency.js";
import { ServerClock } from "./serverclock.js";

/** What is shown as the present is true of so long. */
export const LATELY_MS = 10_000;
const KEPT = 600;
/** Pictures that the server told of and that were not displayed yet. More: the oldest goes, it was skipped. */
const PENDING = 8;

/**
 * @typedef {"uplink" | "waiting" | "model" | "encode" | "network" | "decode" | "display"} Part
 * @typedef {{asked_ms?: number, began_ms: number, emitted_ms: number, encoding_ms: number, sent_ms: number}} Times
 * @typedef {{atMs: number, totalMs: number, parts: Record<Part, number>}} Sample
 * @typedef {import("./latency.js").Frame} Frame
 */

/** In the order of the way. @type {Part[]} */
export const PARTS = ["uplink", "waiting", "model", "encode", "network", "decode", "display"];

/**
 * Where the time went of a command that was sent at `sentMs` and is seen in `frame`.
 * @param {number} sentMs
 * @param {Frame} frame
 * @param {Times} times
 * @param {number | null} askedMs when the server had the command, on the page's clock
 * @returns {Sample}
 */
export function ofCommand(sentMs, frame, times, askedMs) {
  const totalMs = frame.displayMs - sentMs;
  const asked = times.asked_ms ?? times.began_ms;
  const began = within(times.began_ms, asked, times.emitted_ms);
  const browser = inBrowser(frame);
  const onTheWay = totalMs - (times.sent_ms - asked) - browser.decode - browser.display;
  const uplink = askedMs === null ? onTheWay / 2 : within(askedMs - sentMs, 0, Math.max(0, onTheWay));
  return {
    atMs: frame.displayMs,
    totalMs,
    parts: {
      uplink,
      waiting: began - asked + (times.encoding_ms - times.emitted_ms),
      model: times.emitted_ms - began,
      encode: times.sent_ms - times.encoding_ms,
      network: onTheWay - uplink,
      ...browser,
    },
  };
}

/**
 * How old the picture was when it was displayed, and where that went. `sentMs`: when it left, on the page's clock.
 * @param {Frame} frame
 * @param {Times} times
 * @param {number} sentMs
 * @returns {Sample}
 */
export function ofPicture(frame, times, sentMs) {
  const browser = inBrowser(frame);
  const network = Math.max(0, frame.displayMs - sentMs - browser.decode - browser.display);
  const parts = {
    uplink: 0,
    waiting: times.encoding_ms - times.emitted_ms,
    model: times.emitted_ms - times.began_ms,
    encode: times.sent_ms - times.encoding_ms,
    network,
    ...browser,
  };
  return { atMs: frame.displayMs, totalMs: PARTS.reduce((sum, part) => sum + parts[part], 0), parts };
}

/**
 * From the last packet to the screen. Where the browser does not say when that came, all is the network's.
 * @param {Frame} frame
 */
function inBrowser({ displayMs, receivedMs, decodeMs }) {
  if (receivedMs === null) return { decode: 0, display: 0 };
  const here = Math.max(0, displayMs - receivedMs);
  const decode = within(decodeMs ?? 0, 0, here);
  return { decode, display: here - decode };
}

/**
 * @param {number} value
 * @param {number} least
 * @param {number} most
 */
const within = (value, least, most) => Math.min(Math.max(value, least), most);

/** The last samples; the oldest go. */
export class Samples {
  constructor() {
    /** @type {Sample[]} */
    this.all = [];
  }

  /** @param {Sample} sample */
  add(sample) {
    this.all.push(sample);
    if (this.all.length > KEPT) this.all.shift();
  }

  /**
   * The sample in the middle of the last seconds, by its total: a real one, so that its parts add up.
   * @param {number} nowMs
   * @returns {Sample | null}
   */
  typical(nowMs) {
    const recent = this.all.filter(({ atMs }) => atMs > nowMs - LATELY_MS);
    recent.sort((a, b) => a.totalMs - b.totalMs);
    return recent[(recent.length - 1) >> 1] ?? null;
  }
}

/** Brings together what the server says of its pictures, what the browser displays, and both clocks. */
export class Breakdown {
  constructor() {
    this.clock = new ServerClock();
    this.commands = new Samples();
    this.pictures = new Samples();
    /** @type {{rtp: number, times: Times}[]} */
    this.pending = [];
  }

  /** The connection went. */
  clear() {
    this.clock.clear();
    this.commands.all.length = this.pictures.all.length = this.pending.length = 0;
  }

  /**
   * A command's picture was displayed.
   * @param {import("./latency.js").Delay} delay
   */
  shown({ sentMs, frame, times }) {
    if (!frame || !times || times.asked_ms === undefined) return;
    this.commands.add(ofCommand(sentMs, frame, times, this.clock.toPage(times.asked_ms)));
  }

  /**
   * The server says when a picture was where.
   * @param {number} rtp
   * @param {Times & {now_ms: number}} times
   * @param {number} nowMs
   * @param {Frame | undefined} frame the picture, where it has been displayed already
   */
  sent(rtp, times, nowMs, frame) {
    this.clock.heard(times.now_ms, nowMs);
    if (frame) {
      this.seen(frame, times);
      return;
    }
    this.pending.push({ rtp, times });
    if (this.pending.length > PENDING) this.pending.shift();
  }

  /** @param {Frame} frame */
  displayed(frame) {
    const { rtp } = frame;
    if (rtp === null || this.pending.length === 0) return;
    const passed = this.pending.filter((picture) => rtpAtLeast(rtp, picture.rtp));
    this.pending = this.pending.filter((picture) => !passed.includes(picture));
    // One that was skipped is no picture that anybody saw.
    const picture = passed.find((one) => one.rtp === rtp);
    if (picture) this.seen(frame, picture.times);
  }

  /**
   * @param {Frame} frame
   * @param {Times} times
   */
  seen(frame, times) {
    const sentMs = this.clock.toPage(times.sent_ms);
    if (sentMs !== null) this.pictures.add(ofPicture(frame, times, sentMs));
  }
}
