/**
 * What the runtime and the model have to say: short notices that go away, and the log of the model's
 * messages.
 */

import { el, icon } from "./dom.js";

const SHOWN_MS = 7_000;
const NOTICES_MAX = 4;
const LOG_MAX = 60;
const TEXT_MAX = 600;
/** Of a notice's text, what its button is called by. */
const NAME_MAX = 60;

export class Notices {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
  }

  /**
   * Show `text`. Problems stay until they are closed.
   * @param {string} text
   * @param {"info" | "problem"} [kind]
   */
  show(text, kind = "info") {
    const shown = /** @type {HTMLElement[]} */ ([...this.root.children]);
    if (shown.some((notice) => notice.dataset.text === text)) return;
    const notice = el("div", {
      class: "notice",
      role: kind === "problem" ? "alert" : "status",
      data: { text, kind, testid: `notice-${kind}` },
    });
    const close = el(
      "button",
      { type: "button", class: "quiet", "aria-label": `Dismiss: ${text.slice(0, NAME_MAX)}`, on: { click: () => notice.remove() } },
      icon("close"),
    );
    notice.append(icon(kind === "problem" ? "alert" : "info"), el("p", { dir: "auto" }, text.slice(0, TEXT_MAX)), close);
    this.root.append(notice);
    while (this.root.childElementCount > NOTICES_MAX) this.root.firstElementChild?.remove();
    if (kind !== "problem") setTimeout(() => notice.remove(), SHOWN_MS);
  }

  /** A new connection: what was wrong with the last one is past. */
  clear() {
    this.root.replaceChildren();
  }
}

export class Log {
  /**
   * @param {HTMLElement} root
   * @param {HTMLElement} section
   */
  constructor(root, section) {
    this.root = root;
    this.section = section;
  }

  /**
   * @param {string} type
   * @param {object} data
   */
  add(type, data) {
    const time = new Date().toLocaleTimeString([], { hour12: false });
    const text = Object.keys(data).length > 0 ? JSON.stringify(data) : "";
    this.root.prepend(
      el(
        "li",
        { data: { testid: "message" } },
        el("div", { class: "log-head" }, el("b", { dir: "auto" }, type), el("time", {}, time)),
        text ? el("code", { dir: "auto" }, text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text) : null,
      ),
    );
    while (this.root.childElementCount > LOG_MAX) this.root.lastElementChild?.remove();
    this.section.hidden = false;
    document.body.dataset.controls = "some";
  }
}
