/** One bar for the time from a press to its picture: its parts stand side by side and add up to the number above. */

import { PARTS } from "./breakdown.js";
import { el } from "./dom.js";

/** @type {Record<import("./breakdown.js").Part, string>} */
const NAMES = {
  uplink: "Uplink",
  waiting: "Waiting for the frame",
  model: "Model",
  encode: "Encode",
  network: "Network",
  decode: "Decode",
  display: "Display",
};

export class LatencyBar {
  constructor() {
    this.title = el("span", { class: "latency-title" });
    this.total = el("b", { data: { testid: "latency-total" } });
    this.bar = el("div", { class: "latency-bar", "aria-hidden": "true" });
    this.list = el("dl", { class: "latency-parts" });
    this.rows = PARTS.map((part) => {
      const piece = el("i", { data: { part } });
      const value = el("dd", { data: { testid: `latency-${part}` } });
      const name = el("dt", { data: { part } }, NAMES[part]);
      this.bar.append(piece);
      this.list.append(name, value);
      return { part, piece, name, value };
    });
    this.root = el(
      "div",
      { class: "latency", hidden: true, data: { testid: "latency" } },
      el("p", { class: "latency-head" }, this.title, this.total),
      this.bar,
      this.list,
    );
  }

  /**
   * @param {import("./breakdown.js").Sample | null} sample
   * @param {string} title what the whole is
   */
  show(sample, title) {
    this.root.hidden = sample === null;
    if (!sample) return;
    this.title.textContent = title;
    this.total.textContent = `${sample.totalMs.toFixed(0)} ms`;
    for (const { part, piece, name, value } of this.rows) {
      const ms = sample.parts[part];
      const shown = part !== "uplink" || ms > 0;
      piece.hidden = name.hidden = value.hidden = !shown;
      piece.style.flexGrow = String(Math.max(0, ms));
      value.textContent = ms < 10 ? ms.toFixed(1) : ms.toFixed(0);
    }
  }
}
