/**
 * Numbers over the picture: what is displayed, what the network does, what the model says, and the command
 * delay.
 */

import { el } from "./dom.js";
import { median } from "./latency.js";

const EVERY_MS = 1000;
const SPARK_BARS = 40;
/** @type {Record<string, string>} */
const UNITS = { ms: "ms", s: "s", fps: "fps", kbps: "kbit/s", percent: "%", bytes: "B" };

/**
 * @typedef {{width: number, height: number, codec: string, bitrateKbps: number | null,
 *   roundTripMs: number | null, jitterBufferMs: number | null, decodeMs: number | null,
 *   framesDecoded: number, framesDropped: number, freezes: number, frozenMs: number,
 *   packetsLost: number}} Measured what the browser knows of the connection
 */

export class Overlay {
  /**
   * @param {HTMLElement} root
   * @param {{frames: import("./latency.js").DisplayedFrames, delays: number[]}} seen
   */
  constructor(root, { frames, delays }) {
    this.root = root;
    this.frames = frames;
    this.delays = delays;
    /** @type {import("./connection.js").Connection | null} */
    this.connection = null;
    /** @type {Record<string, any> | null} */
    this.before = null;
    /** @type {Partial<Measured>} */
    this.values = {};
    /** @type {Record<string, number>} */
    this.server = {};
    this.spark = el("canvas", {
      class: "spark",
      width: 320,
      height: 56,
      role: "img",
      "aria-label": "Recent delays from command to picture",
    });
    /** @type {Map<string, HTMLElement>} */
    this.rows = new Map();
    this.list = el("dl", { class: "numbers" });
    this.serverList = el("dl", { class: "numbers" });
    this.heading = el("p", { class: "numbers-head", hidden: true }, "Runtime");
    root.replaceChildren(this.list, this.spark, this.heading, this.serverList);
    setInterval(() => this.refresh(), EVERY_MS);
  }

  /**
   * Measure this connection from now on; null for none.
   * @param {import("./connection.js").Connection | null} connection
   */
  watch(connection) {
    this.connection = connection;
    this.before = null;
    if (connection === null) {
      this.values = {};
      this.setServer({});
      this.serverList.replaceChildren();
      for (const key of [...this.rows.keys()]) if (key.startsWith("server-")) this.rows.delete(key);
    }
  }

  /**
   * Named numbers of the runtime.
   * @param {Record<string, any>} values
   */
  setServer(values) {
    this.server = Object.fromEntries(
      Object.entries(values).filter(([, value]) => typeof value === "number" && Number.isFinite(value)),
    );
  }

  async refresh() {
    const { connection } = this;
    if (connection?.peer && !connection.closed) {
      const report = await connection.peer.getStats();
      if (connection === this.connection) this.values = this.read(report);
    }
    if (!this.root.hidden) this.render();
  }

  /**
   * @param {RTCStatsReport} report
   * @returns {Measured}
   */
  read(report) {
    /** @type {Record<string, any>[]} */
    const all = [.../** @type {any} */ (report).values()];
    const video = all.find((stat) => stat.type === "inbound-rtp" && stat.kind === "video") ?? {};
    const pair =
      all.find((stat) => stat.type === "candidate-pair" && stat.nominated && stat.state === "succeeded") ??
      {};
    const before = this.before ?? {};
    this.before = video;
    const seconds = (video.timestamp - before.timestamp) / 1000;
    /** @param {string} name */
    const grown = (name) => (video[name] ?? 0) - (before[name] ?? 0);
    /**
     * @param {string} sum
     * @param {string} count
     */
    const mean = (sum, count) => (grown(count) > 0 ? (1000 * grown(sum)) / grown(count) : null);
    return {
      width: video.frameWidth ?? 0,
      height: video.frameHeight ?? 0,
      codec: /** @type {any} */ (report).get(video.codecId)?.mimeType?.split("/")[1] ?? "",
      bitrateKbps: seconds > 0 ? (grown("bytesReceived") * 8) / seconds / 1000 : null,
      roundTripMs: pair.currentRoundTripTime !== undefined ? pair.currentRoundTripTime * 1000 : null,
      jitterBufferMs: mean("jitterBufferDelay", "jitterBufferEmittedCount"),
      decodeMs: mean("totalDecodeTime", "framesDecoded"),
      framesDecoded: video.framesDecoded ?? 0,
      framesDropped: video.framesDropped ?? 0,
      freezes: video.freezeCount ?? 0,
      frozenMs: (video.totalFreezesDuration ?? 0) * 1000,
      packetsLost: video.packetsLost ?? 0,
    };
  }

  /** Everything measured, for tests and benchmarks. */
  stats() {
    const nowMs = performance.now();
    return {
      ...this.values,
      displayedFps: this.frames.rate(nowMs),
      displayedFrames: this.frames.total,
      longestGapMs: this.frames.longestGapMs(nowMs),
      lastDelayMs: this.delays.at(-1) ?? null,
      medianDelayMs: median(this.delays),
      server: this.server,
    };
  }

  render() {
    const now = this.stats();
    /**
     * @param {number | null | undefined} value
     * @param {string} unit
     */
    const number = (value, unit, digits = 0) =>
      value === null || value === undefined ? "–" : `${value.toFixed(digits)}${unit && ` ${unit}`}`;
    const rate =
      now.bitrateKbps === null || now.bitrateKbps === undefined
        ? "–"
        : now.bitrateKbps >= 1000
          ? `${(now.bitrateKbps / 1000).toFixed(2)} Mbit/s`
          : `${now.bitrateKbps.toFixed(0)} kbit/s`;
    this.row(this.list, "displayed", "Displayed", number(this.connection ? now.displayedFps : null, "fps"));
    this.row(this.list, "picture", "Picture", now.width ? `${now.width} × ${now.height} ${now.codec}` : "–");
    this.row(this.list, "bitrate", "Bitrate", rate);
    this.row(
      this.list,
      "roundtrip",
      "Round trip",
      number(now.roundTripMs, "ms", (now.roundTripMs ?? 0) < 10 ? 1 : 0),
    );
    this.row(this.list, "jitter", "Jitter buffer", number(now.jitterBufferMs, "ms", 1));
    this.row(
      this.list,
      "dropped",
      "Dropped · frozen",
      this.connection ? `${now.framesDropped ?? 0} · ${now.freezes ?? 0}` : "–",
    );
    this.row(this.list, "gap", "Longest gap", number(this.connection ? now.longestGapMs : null, "ms"));
    this.row(this.list, "delay", "Command delay", number(now.lastDelayMs, "ms"));
    this.row(this.list, "median", "Median delay", number(now.medianDelayMs, "ms"));
    this.spark.hidden = this.delays.length < 2;
    if (!this.spark.hidden) this.drawSpark();
    this.heading.hidden = Object.keys(this.server).length === 0;
    for (const [name, value] of Object.entries(this.server)) {
      const [, stem, unit] = /^(.*?)(?:_(ms|s|fps|kbps|percent|bytes))?$/.exec(name) ?? ["", name, ""];
      this.row(
        this.serverList,
        `server-${name}`,
        stem.replace(/_/g, " "),
        number(value, UNITS[unit] ?? "", Number.isInteger(value) ? 0 : 1),
      );
    }
  }

  /**
   * @param {HTMLElement} list
   * @param {string} key
   * @param {string} label
   * @param {string} text
   */
  row(list, key, label, text) {
    let value = this.rows.get(key);
    if (!value) {
      value = el("dd", { data: { testid: `stat-${key}` } });
      this.rows.set(key, value);
      list.append(el("dt", {}, label), value);
    }
    if (value.textContent !== text) value.textContent = text;
  }

  drawSpark() {
    const context = this.spark.getContext("2d");
    if (!context) return;
    const { width, height } = this.spark;
    const recent = this.delays.slice(-SPARK_BARS);
    const top = Math.max(60, ...recent);
    const bar = width / SPARK_BARS;
    context.clearRect(0, 0, width, height);
    context.fillStyle = getComputedStyle(this.spark).color;
    recent.forEach((delayMs, index) => {
      const tall = Math.max(2, (delayMs / top) * height);
      context.globalAlpha = 0.35 + (0.65 * (index + 1)) / recent.length;
      context.fillRect(index * bar, height - tall, bar - 2, tall);
    });
  }
}
