/**
 * The person's own video for a model that takes one: the card that offers it, the buttons of the bar, and
 * the small preview of what the model gets.
 */

import { announce } from "./announcer.js";
import { byId } from "./dom.js";
import { Webcam } from "./webcam.js";

/** @typedef {import("./connection.js").Connection} Connection */

const CAMERA_BUTTONS = ["camera", "cover-camera", "input-camera"];
const FILE_BUTTONS = ["video-file", "input-file"];

export class Sharing {
  /** @param {{onProblem: (text: string) => void, onChange: () => void}} told */
  constructor({ onProblem, onChange }) {
    this.onProblem = onProblem;
    this.onChange = onChange;
    /** @type {Webcam | null} */
    this.webcam = null;
    /** @type {Connection | null} */
    this.connection = null;
    this.preview = byId("preview-video", HTMLVideoElement);
    const file = byId("video-file-input", HTMLInputElement);
    for (const id of ["camera", "input-camera"]) byId(id).addEventListener("click", () => this.toggleCamera());
    for (const id of FILE_BUTTONS)
      byId(id).addEventListener("click", () => (this.from === "file" ? this.stop() : file.click()));
    byId("preview-stop").addEventListener("click", () => this.stop());
    file.addEventListener("change", () => {
      if (file.files?.[0]) this.webcam?.shareFile(file.files[0]);
      file.value = "";
    });
  }

  /** Whether the model takes video. */
  get offered() {
    return this.webcam !== null;
  }

  /** What is shared now: "camera", "file" or "". */
  get from() {
    return this.webcam?.from ?? "";
  }

  /**
   * The model takes video on this track, or on none. What is shared goes on where the track stayed the same.
   * @param {string | null} trackName
   */
  setTrack(trackName) {
    if (trackName === (this.webcam?.trackName ?? null)) return;
    this.stop();
    this.webcam =
      trackName === null
        ? null
        : new Webcam({ trackName, onChange: (sharing) => this.show(sharing), onProblem: this.onProblem });
    if (this.connection) this.webcam?.attach(this.connection);
    for (const id of ["camera", "video-file", "input-card"]) byId(id).hidden = trackName === null;
  }

  /** @param {Connection} connection */
  attach(connection) {
    this.connection = connection;
    this.webcam?.attach(connection);
  }

  detach() {
    this.connection = null;
    this.webcam?.detach();
  }

  toggleCamera() {
    if (this.from === "camera") this.stop();
    else this.webcam?.shareCamera();
  }

  /**
   * Whether there is somebody to share with; nobody is filmed for a session that is over.
   * @param {boolean} enabled
   */
  setEnabled(enabled) {
    if (!enabled) this.stop();
    for (const id of [...CAMERA_BUTTONS, ...FILE_BUTTONS]) byId(id, HTMLButtonElement).disabled = !enabled;
  }

  stop() {
    if (this.webcam?.sharing) this.webcam.stop();
  }

  /** @param {{stream: MediaStream, from: string} | null} sharing */
  show(sharing) {
    const from = sharing?.from ?? "";
    byId("preview").hidden = sharing === null;
    byId("preview").classList.toggle("mirror", from === "camera");
    this.preview.srcObject = sharing?.stream ?? null;
    const label = from === "file" ? "Your video goes to the model" : "Your camera goes to the model";
    byId("preview-label").textContent = label;
    for (const id of CAMERA_BUTTONS) byId(id).setAttribute("aria-pressed", String(from === "camera"));
    for (const id of FILE_BUTTONS) byId(id).setAttribute("aria-pressed", String(from === "file"));
    byId("input-camera-text").textContent = from === "camera" ? "Stop your camera" : "Use your camera";
    byId("input-file-text").textContent = from === "file" ? "Stop your video" : "Send a video";
    byId("input-about").textContent = sharing === null ? "This model works on a video of yours." : `${label}.`;
    announce(sharing === null ? "Your video is no longer shared." : label);
    this.onChange();
  }
}
