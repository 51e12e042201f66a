/**
 * How one stands among the others, on the picture: a line or two, and what to press. It is made anew only where its
 * words change, so that a press and the focus stay where they are while it counts down.
 */

import { el } from "./dom.js";
import { left } from "./standing.js";

const COUNT_MS = 250;

export class Rail {
  /**
   * @param {HTMLElement} stage
   * @param {{onAct: (act: import("./standing.js").Act) => void, announce: (text: string) => void}} told
   */
  constructor(stage, { onAct, announce }) {
    this.onAct = onAct;
    this.announce = announce;
    /** @type {import("./standing.js").Standing | null} */
    this.shown = null;
    this.words = "";
    this.count = el("span", { class: "count", "aria-hidden": "true", data: { testid: "rail-count" } });
    this.root = el("section", { class: "rail", hidden: true, "aria-label": "Who drives", data: { testid: "rail" } });
    stage.append(this.root);
    setInterval(() => this.tick(), COUNT_MS);
  }

  /** @param {import("./standing.js").Standing | null} standing */
  show(standing) {
    this.shown = standing;
    const words = standing && JSON.stringify([standing.tone, standing.title, standing.detail, standing.acts]);
    if (words !== this.words) this.write(standing);
    this.words = words ?? "";
    this.tick();
  }

  /** @param {import("./standing.js").Standing | null} standing */
  write(standing) {
    this.root.hidden = standing === null;
    document.body.dataset.rail = standing?.tone ?? "none";
    if (!standing) {
      this.root.replaceChildren();
      return;
    }
    const { tone, title, detail, acts } = standing;
    const focused = this.root.contains(document.activeElement);
    this.root.dataset.tone = tone;
    const buttons = acts.map((act) =>
      el(
        "button",
        {
          type: "button",
          class: act.primary ? "primary" : "second",
          data: { testid: `rail-${act.name}` },
          on: { click: () => this.onAct(act) },
        },
        act.text,
      ),
    );
    this.root.replaceChildren(
      el("p", { class: "rail-words" }, el("b", { data: { testid: "rail-title" } }, title, this.count), el("span", {}, detail)),
      ...(buttons.length > 0 ? [el("div", { class: "rail-acts" }, buttons)] : []),
    );
    if (focused) (buttons[0] ?? this.root).focus();
    this.announce(`${title}. ${detail}`);
  }

  tick() {
    const { untilMs = null } = this.shown ?? {};
    const text = untilMs === null ? "" : left(untilMs, performance.now());
    if (this.count.textContent !== text) this.count.textContent = text;
  }
}
