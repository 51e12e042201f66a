/**
 * What stands over the picture while it is not live: what happens, and what one can do about it. Also the
 * line of state above the picture and the window's title.
 */

import { announce } from "./announcer.js";
import { byId } from "./dom.js";
import { duration, offlineSince } from "./words.js";

/** A live picture that does not change for this long is worth a word. */
const STALLED_MS = 3_000;
const LOOK_MS = 1_000;

/** Waiting that is longer than this says for how long. */
const LONG_MS = 3_000;

/** States whose words count down: seen, and not read out every second. */
const COUNTING = new Set(["reconnecting", "gone", "full"]);

export class Cover {
  /**
   * `lastShownMs()` is when the picture changed last.
   * @param {{onStart: () => void, onToken: (token: string) => void, onCamera: () => void,
   *   lastShownMs: () => number | null}} doing
   */
  constructor({ onStart, onToken, onCamera, lastShownMs }) {
    this.lastShownMs = lastShownMs;
    /** When what is shown began. */
    this.sinceMs = performance.now();
    /** @type {import("./session.js").View | null} */
    this.view = null;
    this.modelName = "";
    /** What is more than any state: it is one's turn, say. */
    this.first = "";
    this.words = "";
    /** @type {import("./line.js").Judged} */
    this.line = { state: "good", text: "" };
    this.start = byId("cover-start", HTMLButtonElement);
    this.token = byId("token", HTMLInputElement);
    this.start.addEventListener("click", onStart);
    byId("cover-camera").addEventListener("click", onCamera);
    byId("token-form").addEventListener("submit", (event) => {
      event.preventDefault();
      onToken(this.token.value.trim());
    });
    setInterval(() => this.look(), LOOK_MS);
  }

  /**
   * @param {import("./session.js").View} view
   * @param {{modelName: string, offerCamera: boolean}} about
   */
  show(view, { modelName, offerCamera }) {
    const elapsedMs = (view.loading?.elapsedS ?? 0) * 1000;
    if (view.name !== this.view?.name || view.loading) this.sinceMs = performance.now() - elapsedMs;
    this.view = view;
    this.modelName = modelName;
    this.tell(view);
    byId("progress").hidden = !view.busy;
    byId("progress").dataset.known = String(typeof view.loading?.fraction === "number");
    byId("progress").style.setProperty("--share", String(view.loading?.fraction ?? 0));
    this.tellTime();
    byId("token-form").hidden = view.name !== "locked";
    this.start.hidden = !view.canStart;
    byId("cover-start-text").textContent = view.startText;
    byId("cover-camera").hidden = !offerCamera || view.name !== "waiting";
    announce(COUNTING.has(view.name) ? view.title : `${view.title}. ${view.detail}`);
    if (view.name === "locked") this.token.focus();
  }

  /** @param {{name: string, title: string, detail: string}} told */
  tell({ name, title, detail }) {
    document.body.dataset.state = name;
    this.entitle(title);
    byId("state").textContent = title;
    byId("cover-title").textContent = title;
    byId("cover-detail").textContent = detail;
    byId("cover").hidden = name === "live";
  }

  /** @param {string} text */
  entitle(text) {
    this.words = text;
    const title = [this.first, this.modelName, text.toLowerCase()].filter(Boolean).join(" · ");
    if (document.title !== title) document.title = title;
  }

  /**
   * Say this first in the window's title, which is seen while another tab is in front; "" for nothing.
   * @param {string} text
   */
  sayFirst(text) {
    this.first = text;
    this.entitle(this.words);
  }

  /** @param {import("./line.js").Judged} line */
  showLine(line) {
    if (line.state !== this.line.state) announce(line.text || "The connection is good again.");
    this.line = line;
    document.body.dataset.line = line.state;
    if (this.view?.name !== "live") return;
    const isAway = line.state === "offline";
    this.tell(isAway ? { name: "offline", title: line.text, detail: offlineSince(Date.now()) } : this.view);
    this.look();
  }

  /** Which part of a load it is, and for how long one has waited. */
  tellTime() {
    const { name, loading } = this.view ?? {};
    const waits = name === "loading" || name === "waiting" || name === "connecting";
    const waitedMs = performance.now() - this.sinceMs;
    const words = [
      loading && loading.parts > 1 ? `Part ${loading.part} of ${loading.parts}` : "",
      waits && waitedMs > LONG_MS ? `${duration(waitedMs)} so far` : "",
    ].filter(Boolean);
    byId("cover-time").hidden = words.length === 0;
    byId("cover-time").textContent = words.join(" · ");
  }

  /** Nothing is called live that stands still, whatever the reason. */
  look() {
    this.tellTime();
    if (this.view?.name !== "live" || this.line.state === "offline" || document.hidden) return;
    const shownMs = this.lastShownMs();
    const stillMs = shownMs === null ? 0 : performance.now() - shownMs;
    document.body.dataset.stalled = String(stillMs > STALLED_MS);
    const still = stillMs > STALLED_MS ? `No new picture for ${Math.floor(stillMs / 1000)} s` : "Live";
    const text = this.line.text || still;
    byId("state").textContent = text;
    // The window's title is read in a row of tabs: it counts nothing.
    this.entitle(text.replace(/ for \d+ s$/, ""));
  }
}
