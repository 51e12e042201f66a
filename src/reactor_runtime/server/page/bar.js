/** The bar under the picture, the help, and the page's own keys: everything here is done by a press. */

import { announce } from "./announcer.js";
import { byId } from "./dom.js";
import { FullScreen } from "./fullscreen.js";
import { save } from "./saving.js";
import { Shortcuts } from "./shortcuts.js";

/** How much of the past the clip button saves. */
const CLIP_S = 10;

export class Bar {
  /**
   * @param {{server: import("./server.js").Server, session: import("./session.js").Session,
   *   people: import("./people.js").People,
   *   stage: import("./stage.js").Stage, overlay: import("./overlay.js").Overlay,
   *   sheet: import("./sheet.js").Sheet, recording: () => Promise<import("./recording.js").Recording>,
   *   notices: import("./notices.js").Notices}} parts
   * @param {() => void} onStart
   */
  constructor(parts, onStart) {
    this.parts = parts;
    this.modelName = "";
    /** @type {import("./share.js").Share | undefined} */
    this.sharing = undefined;
    const { people, stage, sheet, recording, notices } = parts;
    const help = byId("help", HTMLDialogElement);
    this.fullScreen = new FullScreen((on) => {
      sheet.cover(on);
      stage.stir();
    });
    this.shortcuts = new Shortcuts(
      {
        "?": { label: "Show this help", run: () => help.showModal() },
        f: { label: "Full screen", run: () => this.fullScreen.toggle() },
        o: { label: "Numbers: rate, delay, network", run: () => this.toggleOverlay() },
        c: { label: "Save the picture", run: () => this.capture() },
        h: { label: "Hide or show the controls", run: () => sheet.toggle() },
      },
      byId("help-list"),
    );
    press("start", onStart);
    press("stop", () => people.stop());
    press("capture", () => this.capture());
    press("clip", () => {
      notices.show(`Saving the last ${CLIP_S} seconds …`);
      recording().then((films) => films.clip(CLIP_S), () => {});
    });
    press("record", () => recording().then((films) => films.toggle(), () => {}));
    press("session-log", () => this.saveLog());
    press("share", () => this.share());
    press("stats", () => this.toggleOverlay());
    press("sound", () => this.toggleSound());
    press("full", () => this.fullScreen.toggle());
    press("panel-toggle", () => sheet.toggle());
    press("help-open", () => help.showModal());
    press("help-close", () => help.close());
    this.toggleOverlay(false);
  }

  /**
   * What can be pressed in this state.
   * @param {import("./session.js").View} view
   */
  show(view) {
    const { session, people } = this.parts;
    byId("start").hidden = !view.canStart || view.canStop;
    byId("start-text").textContent = view.startText;
    byId("stop").hidden = !view.canStop;
    byId("stop-text").textContent = session.creator && people.drives ? "Stop" : "Leave";
    for (const id of ["capture", "clip", "record"])
      byId(id, HTMLButtonElement).disabled = view.name !== "live";
    byId("session-log").hidden = session.log === null;
  }

  async capture() {
    const picture = await this.parts.stage.capture();
    if (picture) this.save(picture, "png", "Picture saved.");
  }

  async saveLog() {
    const { server, session, notices } = this.parts;
    if (session.log === null) return;
    const { path, redacted } = session.log;
    const text = redacted
      ? "Session log saved, without its texts: its commands cannot be given again."
      : "Session log saved. It holds what was typed.";
    try {
      this.save(await server.sessionLog(path), "jsonl", text);
    } catch (error) {
      notices.show(`No session log: ${/** @type {Error} */ (error).message}`, "problem");
    }
  }

  /**
   * @param {Blob} blob
   * @param {string} extension
   * @param {string} text
   */
  save(blob, extension, text) {
    save(blob, this.modelName, extension);
    this.parts.notices.show(text);
  }

  /** @param {boolean} offered */
  offerRecording(offered) {
    for (const id of ["clip", "record"]) byId(id).hidden = !offered;
  }

  /** @param {{busy: boolean, recording: boolean}} now */
  showRecording({ busy, recording }) {
    const button = byId("record");
    if (recording !== (button.getAttribute("aria-pressed") === "true"))
      announce(recording ? "Recording." : "The recording has ended.");
    button.setAttribute("aria-pressed", String(recording));
    button.title = recording ? "End the recording and save it" : "Record a film";
    byId("clip").setAttribute("aria-busy", String(busy));
  }

  async share() {
    const { Share } = await import("./share.js");
    this.sharing ??= new Share(this.parts.server);
    this.sharing.open();
  }

  toggleOverlay(shown = byId("overlay").hidden) {
    byId("overlay").hidden = !shown;
    byId("stats").setAttribute("aria-expanded", String(shown));
    this.parts.overlay.refresh();
  }

  toggleSound() {
    const { video } = this.parts.stage;
    video.muted = !video.muted;
    byId("sound").setAttribute("aria-pressed", String(!video.muted));
  }
}

/**
 * @param {string} id
 * @param {() => void} run
 */
function press(id, run) {
  byId(id).addEventListener("click", run);
}
