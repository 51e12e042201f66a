/**
 * Who else is here, and who drives: what a page must know of it from the start. What is shown of it comes as soon as
 * there is somebody else, see together.js: whoever is alone needs none of it.
 */

/**
 * @typedef {{viewers: number, drivers: number, driving: boolean}} Here what the server says, this page included
 * @typedef {{server: import("./server.js").Server, session: import("./session.js").Session,
 *   notices: import("./notices.js").Notices, cover: import("./cover.js").Cover, announce: (text: string) => void}} Parts
 */

/** Whoever leaves waits no longer for the server to take the wheel. */
const RELEASE_MS = 500;

export class People {
  /**
   * @param {Parts} parts
   * @param {(drives: boolean) => void} onWheel
   */
  constructor(parts, onWheel) {
    this.parts = parts;
    this.onWheel = onWheel;
    /** @type {Map<string, any>} What the server said last, by kind. */
    this.said = new Map();
    /** @type {Promise<import("./together.js").Together> | null} */
    this.shown = null;
  }

  /** Whether this page may say something to the model. */
  get drives() {
    return this.said.get("wheel")?.you !== "watch";
  }

  /** How many are here. */
  get viewers() {
    return Number(this.said.get("company")?.viewers ?? 1);
  }

  /**
   * What the server says of the people here.
   * @param {"company" | "people" | "wheel" | "turn"} kind
   * @param {any} data
   */
  tell(kind, data) {
    const drove = this.drives;
    this.said.set(kind, data);
    if (this.drives !== drove) this.onWheel(this.drives);
    if (this.shown) this.tellShown((shown) => shown.tell(kind, data));
    else if (this.viewers > 1 || !this.drives || this.said.get("turn")?.waiting > 0) this.show();
    this.takeIfAlone();
  }

  /** A wheel that is free is whoever's is alone with it. */
  takeIfAlone() {
    const isFree = !this.drives && this.said.get("wheel").may.includes("take");
    if (!isFree || !this.said.has("company") || this.viewers > 1) return;
    this.parts.session.connection?.request("wheel", { action: "take" }).catch(() => {});
  }

  /** @param {import("./session.js").View} view */
  view({ name }) {
    // Whoever finds the model taken may wait for it, and goes on doing so when the page is loaded again.
    if (name === "occupied" || name === "full" || waits()) this.show();
    this.tellShown((shown) => shown.render());
  }

  /** There is no connection any more. */
  lost() {
    // Who drives is known of the next connection a moment after it: until then it is as it was.
    for (const kind of ["company", "people", "turn"]) this.said.delete(kind);
    this.tellShown((shown) => shown.lost());
  }

  /** End the session, or leave it to those who began it; where others watch, only after asking. */
  async stop() {
    const { session } = this.parts;
    if (!session.creator || !this.drives) await this.leave();
    else if (this.viewers > 1) (await this.show()).stopAsk.ask();
    else session.stop();
  }

  /** Leave; of whoever goes so, no seat is kept. */
  async leave() {
    const { connection } = this.parts.session;
    if (this.drives && this.viewers > 1) {
      const released = connection?.request("wheel", { action: "release" }).catch(() => {});
      await Promise.race([released, new Promise((done) => setTimeout(done, RELEASE_MS))]);
    }
    this.parts.session.stop({ leaving: true });
  }

  /** @param {(shown: import("./together.js").Together) => void} tell */
  tellShown(tell) {
    this.shown?.then(tell, () => {});
  }

  show() {
    this.shown ??= import("./together.js").then(({ Together }) => {
      const shown = new Together(this);
      for (const [kind, data] of this.said) shown.tell(kind, data);
      return shown;
    });
    // A server that was started again may have another one.
    this.shown.catch(() => (this.shown = null));
    return this.shown;
  }
}

/** Whether this tab has a place in the line. Storage is refused in some privacy modes. */
function waits() {
  try {
    return sessionStorage.getItem("reactor.ticket") !== null;
  } catch {
    return false;
  }
}
