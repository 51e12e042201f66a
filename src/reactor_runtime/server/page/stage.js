/**
 * The picture: showing the stream, noticing each displayed frame, the glow around it, and capture.
 */

import { frameNumbers } from "./framenumbers.js";
import { DisplayedFrames } from "./latency.js";

const GLOW_MS = 250;
const GLOW_SHARE = 0.2;
/** In full screen, and on a phone that is held across, the bar goes away when nobody moved for this long. */
const IDLE_MS = 3000;
const PLAYED_WITH = ".thumb, .keys";

export class Stage {
  /**
   * `onFrame(frame)` is called once per displayed frame, after it was added to `frames`.
   * @param {{root: HTMLElement, video: HTMLVideoElement, glow: HTMLCanvasElement,
   *   onFrame: (frame: import("./latency.js").Frame) => void}} parts
   */
  constructor({ root, video, glow, onFrame }) {
    this.root = root;
    this.video = video;
    this.glow = /** @type {CanvasRenderingContext2D} */ (glow.getContext("2d"));
    this.frames = new DisplayedFrames();
    this.onFrame = onFrame;
    this.glowMs = 0;
    this.generation = 0;
    /** @type {MediaStream | null} The stream that was to be shown last. */
    this.next = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.idleTimer = undefined;
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    // What plays the model wakes no bar: its keys, thumbs on their pads, a finger or a mouse that looks around.
    root.addEventListener("pointermove", ({ pointerType }) => {
      if (pointerType !== "touch" && document.pointerLockElement === null) this.stir();
    });
    root.addEventListener("click", ({ target }) => {
      if (document.pointerLockElement === null && !(/** @type {Element} */ (target).closest(PLAYED_WITH))) this.stir();
    });
    root.addEventListener("focusin", () => this.stir());
    video.addEventListener("resize", () =>
      root.style.setProperty(
        "--ratio",
        video.videoHeight > 0 ? String(video.videoWidth / video.videoHeight) : "1.7778",
      ),
    );
  }

  /**
   * Show a stream; a stream that is already shown stays.
   * @param {MediaStream} stream
   */
  show(stream) {
    if (this.video.srcObject === stream) return;
    this.next = stream;
    // A video that waits for its first picture keeps the page from having loaded, and a model may wait for its user.
    if (document.readyState !== "complete") {
      addEventListener("load", () => this.next === stream && this.show(stream), { once: true });
      return;
    }
    this.frames.clear();
    this.video.srcObject = stream;
    // Refused only where even muted playback needs a touch; the play button of the cover is one.
    this.video.play().catch(() => {});
    this.generation += 1;
    this.watch(this.generation);
  }

  /** @param {number} generation */
  watch(generation) {
    const { video } = this;
    if (!video.requestVideoFrameCallback) {
      // Old browsers: the first picture is all that can be noticed.
      video.addEventListener("playing", () => this.displayed(performance.now(), {}), { once: true });
      return;
    }
    /**
     * @param {number} nowMs
     * @param {VideoFrameCallbackMetadata} metadata
     */
    const next = (nowMs, metadata) => {
      if (generation !== this.generation) return;
      this.displayed(nowMs, metadata);
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
  }

  /**
   * @param {number} nowMs
   * @param {Partial<VideoFrameCallbackMetadata>} metadata
   */
  displayed(nowMs, { rtpTimestamp, expectedDisplayTime, receiveTime, processingDuration, presentedFrames, mediaTime }) {
    const stream = /** @type {MediaStream | null} */ (this.video.srcObject);
    const known = stream && frameNumbers.get(stream)?.({ mediaTime });
    const frame = {
      rtp: rtpTimestamp ?? known?.number ?? null,
      displayMs: expectedDisplayTime ?? nowMs,
      receivedMs: receiveTime ?? known?.receivedMs ?? null,
      decodeMs: processingDuration === undefined ? (known?.decodeMs ?? null) : processingDuration * 1000,
      presented: presentedFrames ?? null,
    };
    this.frames.add(frame);
    this.onFrame(frame);
    this.shine(nowMs);
  }

  /**
   * Blend the frame into a tiny picture that the browser stretches behind the video.
   * @param {number} nowMs
   */
  shine(nowMs) {
    if (this.calm.matches || nowMs - this.glowMs < GLOW_MS) return;
    const first = this.glowMs === 0;
    this.glowMs = nowMs;
    const { canvas } = this.glow;
    this.glow.globalAlpha = first ? 1 : GLOW_SHARE;
    this.glow.drawImage(this.video, 0, 0, canvas.width, canvas.height);
  }

  stir() {
    clearTimeout(this.idleTimer);
    this.root.classList.remove("idle");
    this.idleTimer = setTimeout(() => this.root.classList.add("idle"), IDLE_MS);
  }

  /**
   * The current frame as a PNG, or null when there is none.
   * @returns {Promise<Blob | null>}
   */
  async capture() {
    const { videoWidth: width, videoHeight: height } = this.video;
    if (width === 0) return null;
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    canvas.getContext("2d")?.drawImage(this.video, 0, 0);
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  }
}
