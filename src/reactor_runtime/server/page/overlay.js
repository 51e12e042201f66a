/**
 * Numbers over the picture: where the time from a press to its picture goes, what is displayed and over what, and
 * what the model and the runtime say.
 */

import { el } from "./dom.js";
import { LatencyBar } from "./latencybar.js";
import { median } from "./latency.js";
import { LinkStats, quality } from "./linkstats.js";

const NONE = "–";
const EVERY_MS = 1000;
const SPARK_BARS = 40;
/** @type {Record<string, string>} */
const UNITS = { ms: "ms", s: "s", fps: "fps", kbps: "kbit/s", percent: "%", bytes: "B" };

/** @typedef {import("./linkstats.js").Measured} Measured */

export class Overlay {
  /**
   * @param {HTMLElement} root
   * @param {{age: HTMLElement, frames: import("./latency.js").DisplayedFrames, delays: number[],
   *   breakdown: import("./breakdown.js").Breakdown}} seen `age` always shows the picture's age
   */
  constructor(root, { age, frames, delays, breakdown }) {
    this.root = root;
    this.age = age;
    this.frames = frames;
    this.delays = delays;
    this.breakdown = breakdown;
    this.link = new LinkStats();
    /** @type {import("./connection.js").Connection | null} */
    this.connection = null;
    /** Which one the server sends: "full", or "low" for a line that does not take that. */
    this.rendition = "full";
    /** @type {Partial<Measured>} */
    this.values = {};
    /** @type {Record<string, number>} */
    this.server = {};
    /** @type {Record<string, number>} */
    this.reported = {};
    this.spark = el("canvas", {
      class: "spark",
      width: 320,
      height: 56,
      role: "img",
      "aria-label": "Recent delays from command to picture",
    });
    this.bar = new LatencyBar();
    this.list = new Rows();
    this.more = new Rows();
    this.model = new NamedNumbers("Reported by the model", "model");
    this.runtime = new NamedNumbers("Runtime", "server");
    root.replaceChildren(
      this.bar.root,
      this.list.element,
      el(
        "details",
        { class: "more-numbers", data: { testid: "more-numbers" } },
        el("summary", {}, "More numbers"),
        this.more.element,
        this.spark,
        this.model.element,
        this.runtime.element,
      ),
    );
    setInterval(() => this.refresh(), EVERY_MS);
  }

  /**
   * Measure this connection from now on; null for none.
   * @param {import("./connection.js").Connection | null} connection
   */
  watch(connection) {
    this.connection = connection;
    this.link = new LinkStats();
    if (connection === null) {
      this.values = {};
      this.setServer({});
    }
  }

  /**
   * Named numbers of the runtime, and those that the model reports.
   * @param {Record<string, any>} values
   */
  setServer({ model = {}, ...values }) {
    this.server = numbersOf(values);
    this.reported = numbersOf(model);
  }

  async refresh() {
    const { connection } = this;
    const socket = /** @type {any} */ (connection);
    if (socket?.measure && !socket.closed) this.values = socket.measure();
    else if (connection?.peer && !connection.closed) {
      const report = await connection.peer.getStats();
      if (connection !== this.connection) return;
      this.values = this.link.read(report);
      this.breakdown.clock.tookRoundTrip(this.values.roundTripMs ?? null, performance.now());
    }
    const { ageMs } = this.stats();
    this.age.hidden = ageMs === null;
    this.age.textContent = ageMs === null ? "" : text(ageMs, "ms");
    if (!this.root.hidden) this.render();
  }

  /** Everything measured, for tests and benchmarks. */
  stats() {
    const nowMs = performance.now();
    return {
      ...this.values,
      rendition: this.rendition,
      displayedFps: this.frames.rate(nowMs),
      displayedFrames: this.frames.total,
      longestGapMs: this.frames.longestGapMs(nowMs),
      lastDelayMs: this.delays.at(-1) ?? null,
      medianDelayMs: median(this.delays),
      /** Of the picture in the middle of the last seconds; null while none comes. */
      ageMs: this.connection ? (this.breakdown.pictures.typical(nowMs)?.totalMs ?? null) : null,
      server: this.server,
      model: this.reported,
    };
  }

  render() {
    const now = this.stats();
    const { connection } = this;
    const nowMs = performance.now();
    const command = this.breakdown.commands.typical(nowMs);
    if (command) this.bar.show(command, "From press to picture");
    else this.bar.show(this.breakdown.pictures.typical(nowMs), "Age of the picture");
    this.list.show([
      ["age", "Picture’s age", text(now.ageMs, "ms")],
      ["displayed", "Displayed", text(connection ? now.displayedFps : null, "fps")],
      ["picture", "Picture", now.width ? this.pictureText(now) : NONE],
      ["quality", "Quality", qualityText(now)],
      ["rung", "Carried by", now.rung || NONE],
      ["roundtrip", "Round trip", text(now.roundTripMs, "ms", (now.roundTripMs ?? 0) < 10 ? 1 : 0)],
    ]);
    this.more.show([
      ["delay", "Last press", text(now.lastDelayMs, "ms")],
      ["bitrate", "Bitrate", rateText(now.bitrateKbps)],
      ["jitter", "Jitter buffer", text(now.jitterBufferMs, "ms", 1)],
      ["dropped", "Dropped · frozen", connection ? `${now.framesDropped ?? 0} · ${now.freezes ?? 0}` : NONE],
      ["gap", "Longest gap", text(connection ? now.longestGapMs : null, "ms")],
    ]);
    this.spark.hidden = this.delays.length < 2;
    if (!this.spark.hidden) this.drawSpark();
    this.model.show(this.reported);
    this.runtime.show(this.server);
  }

  /** @param {{width?: number, height?: number, codec?: string}} now */
  pictureText({ width, height, codec }) {
    return `${width} × ${height} ${codec}${this.rendition === "low" ? ", low rendition" : ""}`;
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

/** Names and values in rows that stay where they are while the values change. */
class Rows {
  constructor() {
    this.element = el("dl", { class: "numbers" });
    /** @type {Map<string, HTMLElement>} */
    this.values = new Map();
  }

  /**
   * @param {string} key
   * @param {string} label
   * @param {string} shown
   */
  set(key, label, shown) {
    let value = this.values.get(key);
    if (!value) {
      value = el("dd", { data: { testid: `stat-${key}` } });
      this.values.set(key, value);
      this.element.append(el("dt", {}, label), value);
    }
    if (value.textContent !== shown) value.textContent = shown;
  }

  /** @param {[key: string, label: string, shown: string][]} rows */
  show(rows) {
    for (const row of rows) this.set(...row);
  }

  clear() {
    this.values.clear();
    this.element.replaceChildren();
  }
}

/** Numbers that somebody else names: the runtime, or the model's author. */
class NamedNumbers {
  /**
   * @param {string} title
   * @param {string} prefix of the rows' keys
   */
  constructor(title, prefix) {
    this.prefix = prefix;
    this.rows = new Rows();
    this.element = el(
      "section",
      { hidden: true },
      el("h3", { class: "numbers-head" }, title),
      this.rows.element,
    );
  }

  /** @param {Record<string, number>} numbers */
  show(numbers) {
    const entries = Object.entries(numbers);
    this.element.hidden = entries.length === 0;
    for (const key of this.rows.values.keys())
      if (!(key.slice(this.prefix.length + 1) in numbers)) {
        this.rows.clear();
        break;
      }
    for (const [name, value] of entries) {
      const [, stem, unit] = /^(.*?)(?:_(ms|s|fps|kbps|percent|bytes))?$/.exec(name) ?? ["", name, ""];
      const label = stem.replace(/_/g, " ");
      this.rows.set(
        `${this.prefix}-${name}`,
        // Elsewhere on this page the network is the one between the server and here.
        label === "network" ? "neural network" : label,
        text(value, UNITS[unit] ?? "", Number.isInteger(value) ? 0 : 1),
      );
    }
  }
}

/**
 * @param {number | null | undefined} value
 * @param {string} unit
 */
function text(value, unit, digits = 0) {
  if (value === null || value === undefined) return NONE;
  return `${value.toFixed(digits)}${unit && ` ${unit}`}`;
}

/** @param {number | null | undefined} kbps */
function rateText(kbps) {
  if (kbps === null || kbps === undefined) return NONE;
  return kbps >= 1000 ? `${(kbps / 1000).toFixed(2)} Mbit/s` : `${kbps.toFixed(0)} kbit/s`;
}

/** @param {Partial<Measured>} now */
function qualityText({ codec = "", qp = null, pictureKb = null }) {
  const size = pictureKb === null ? "" : `${pictureKb.toFixed(pictureKb < 10 ? 1 : 0)}\u00a0kB\u00a0each`;
  return [quality(codec, qp), qp === null ? "" : `QP\u00a0${qp.toFixed(0)}`, size].filter(Boolean).join(" · ") || NONE;
}

/**
 * @param {Record<string, any>} values
 * @returns {Record<string, number>}
 */
function numbersOf(values) {
  return Object.fromEntries(
    Object.entries(values).filter(([, value]) => typeof value === "number" && Number.isFinite(value)),
  );
}
