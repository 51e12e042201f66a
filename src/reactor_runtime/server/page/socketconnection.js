/**
 * The WebSocket rung: a connection as `Connection` is one, over a socket and WebCodecs, for where no WebRTC gets
 * through. The socket and the decoders are a worker's (`workers/media.js`); here is what the page has to do with it.
 *
 * Pictures go to the page's video element as a track; where the browser can make none of pictures, they are drawn on a
 * canvas whose stream is shown.
 */

import { SocketCamera } from "./socketcamera.js";
import { frameNumbers } from "./framenumbers.js";
import { Requests } from "./requests.js";
import { ServerError } from "./server.js";
import { decodeControl, decodeData, encodeNotification, encodeRuntime } from "./wire.js";

const PING_MS = 5_000;
const OPEN_MS = 8_000;
/** Close codes from here on are refusals: this and the HTTP status. */
const PRIVATE = 4_000;
const SLOW_CONSUMER = 4_008;
/** Numbers of pictures that are kept to find them again when they are displayed. */
const KEPT = 120;

/** @typedef {import("./server.js").Descriptor} Descriptor */

export class SocketConnection {
  /**
   * @param {import("./server.js").Server} server
   * @param {{capabilities?: Descriptor["capabilities"]}} known
   * @param {{stream: (stream: MediaStream) => void, lost: (why: string) => void,
   *   message: (message: import("./wire.js").Said | null) => void}} callbacks
   */
  constructor(server, { capabilities }, callbacks) {
    this.server = server;
    this.tracks = capabilities?.tracks ?? [];
    this.callbacks = callbacks;
    /** No peer, and so no statistics of one. */
    this.peer = null;
    this.stream = new MediaStream();
    this.worker = new Worker("workers/media.js");
    /** @type {Map<string, SocketCamera>} */
    this.senders = new Map();
    this.requests = new Requests((text) => this.send(text));
    this.closed = false;
    this.opened = false;
    /** @type {Map<number, {id: number, receivedMs: number, decodeMs: number}>} By time stamp. */
    this.shown = new Map();
    /** @type {any} What the worker told last. */
    this.last = null;
    this.before = { bytes: 0, decoded: 0, atMs: performance.now() };
    /** @type {CanvasRenderingContext2D | null} */
    this.canvas = null;
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this.pinging = undefined;
  }

  /**
   * Join a session, or start one. Rejects with words.
   * @param {string | null} sessionId
   * @returns {Promise<{descriptor: Descriptor, ready: Promise<void>}>}
   */
  async open(sessionId) {
    const descriptor = sessionId === null ? await this.server.startSession() : await this.server.session(sessionId);
    if (this.tracks.length === 0) this.tracks = descriptor.capabilities?.tracks ?? [];
    const address = this.server.mediaAddress(sessionId ?? descriptor.session_id);
    address.url += `?codecs=${await decoded()}`;
    return { descriptor, ready: this.ready(address) };
  }

  /**
   * @param {{url: string, protocols: string[]}} address
   * @returns {Promise<void>}
   */
  ready(address) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error("No WebSocket to the server could be made either."));
        this.close();
      }, OPEN_MS);
      this.worker.onmessage = ({ data }) => {
        if ("shown" in data) this.show(data.shown, data.frame);
        else if ("said" in data) this.hear(data.said);
        else if ("wanted" in data) this.senders.get(this.tracks[data.wanted]?.name)?.wantKeyframe();
        else if ("opened" in data) {
          clearTimeout(timer);
          this.opened = true;
          this.begin();
          resolve();
        } else if ("closed" in data) {
          clearTimeout(timer);
          const error = whyClosed(data.code, data.reason);
          reject(error);
          this.lose(error.message);
        }
      };
      const { tracks, streams } = this.outputs();
      this.worker.postMessage({ open: true, ...address, tracks }, streams);
    });
  }

  /** What the worker writes each track of the model to. */
  outputs() {
    /** @type {Transferable[]} */
    const streams = [];
    const tracks = this.tracks.flatMap(({ name, kind, direction }, index) => {
      if (kind !== "video") return [];
      if (direction === "sendonly") {
        const send = (/** @type {ArrayBuffer} */ bytes) => this.worker.postMessage({ send: bytes }, [bytes]);
        this.senders.set(name, new SocketCamera(index, send));
        return [];
      }
      const Generator = /** @type {any} */ (globalThis).MediaStreamTrackGenerator;
      if (!Generator) return [{ index, writable: null }];
      const track = new Generator({ kind: "video" });
      this.stream.addTrack(track);
      streams.push(track.writable);
      return [{ index, writable: track.writable }];
    });
    return { tracks, streams };
  }

  begin() {
    for (const { name, kind, direction } of this.tracks) {
      if (kind === "video" && direction === "recvonly") this.notify("resume_track", name);
    }
    this.ping();
    this.pinging = setInterval(() => this.ping(), PING_MS);
    frameNumbers.set(this.stream, (metadata) => this.numberOf(metadata));
    if (this.stream.getTracks().length > 0) this.callbacks.stream(this.stream);
  }

  /**
   * @param {any} told
   * @param {VideoFrame} [frame]
   */
  show(told, frame) {
    this.last = told;
    this.shown.set(told.us, told);
    for (const us of this.shown.keys()) {
      if (this.shown.size <= KEPT) break;
      this.shown.delete(us);
    }
    if (frame) this.draw(frame);
  }

  /** @param {VideoFrame} frame */
  draw(frame) {
    const { displayWidth: width, displayHeight: height } = frame;
    if (!this.canvas) {
      const canvas = document.createElement("canvas");
      Object.assign(canvas, { width, height });
      this.canvas = canvas.getContext("2d", { alpha: false, desynchronized: true });
      for (const track of canvas.captureStream().getTracks()) this.stream.addTrack(track);
      this.callbacks.stream(this.stream);
    }
    const canvas = this.canvas?.canvas;
    if (canvas && (canvas.width !== width || canvas.height !== height)) Object.assign(canvas, { width, height });
    this.canvas?.drawImage(frame, 0, 0);
    frame.close();
  }

  /**
   * Which picture is displayed: by its time stamp where the browser hands that on, else the newest.
   * @param {Partial<VideoFrameCallbackMetadata>} metadata
   */
  numberOf({ mediaTime }) {
    const known = this.shown.get(Math.round((mediaTime ?? -1) * 1e6)) ?? this.last;
    if (!known) return null;
    return { number: known.id, receivedMs: known.receivedMs - performance.timeOrigin, decodeMs: known.decodeMs };
  }

  /** @param {string} text */
  hear(text) {
    const response = decodeControl(text);
    if (response) this.requests.settle(response);
    else this.callbacks.message(decodeData(text));
  }

  /** @param {string} text */
  send(text) {
    if (!this.opened || this.closed) return false;
    this.worker.postMessage({ say: text });
    return true;
  }

  beat() {
    this.send(encodeRuntime("beat"));
  }

  ping() {
    this.send(encodeRuntime("ping"));
  }

  /**
   * @param {string} method
   * @param {Record<string, unknown>} data
   * @returns {Promise<Record<string, any>>}
   */
  request(method, data) {
    return this.requests.ask(method, data);
  }

  /**
   * @param {string} event
   * @param {string} name
   */
  notify(event, name) {
    this.send(encodeNotification(event, { name }));
  }

  /** What is measured of this rung, as `LinkStats` has it of WebRTC's. */
  measure() {
    const nowMs = performance.now();
    const counts = this.last?.counts ?? { bytes: 0, decoded: 0, dropped: 0 };
    const { before } = this;
    this.before = { bytes: counts.bytes, decoded: counts.decoded, atMs: nowMs };
    const seconds = (nowMs - before.atMs) / 1000;
    const pictures = counts.decoded - before.decoded;
    return {
      width: this.last?.width ?? 0,
      height: this.last?.height ?? 0,
      codec: this.last?.codec === "vp8" ? "VP8" : this.last ? "H264" : "",
      bitrateKbps: seconds > 0 ? ((counts.bytes - before.bytes) * 8) / seconds / 1000 : null,
      roundTripMs: null,
      jitterBufferMs: null,
      decodeMs: this.last?.decodeMs ?? null,
      framesDecoded: counts.decoded,
      framesDropped: counts.dropped,
      freezes: 0,
      frozenMs: 0,
      packetsLost: 0,
      qp: null,
      pictureKb: pictures > 0 ? (counts.bytes - before.bytes) / pictures / 1000 : null,
      rung: "websocket",
    };
  }

  /** Close for good. May be called twice. */
  close() {
    if (this.closed) return;
    this.closed = true;
    clearInterval(this.pinging);
    this.requests.close();
    for (const camera of this.senders.values()) camera.replaceTrack(null);
    this.worker.postMessage({ close: true });
    // The worker says goodbye to the server first.
    setTimeout(() => this.worker.terminate(), 200);
  }

  /** @param {string} why */
  lose(why) {
    if (this.closed) return;
    const { opened } = this;
    this.close();
    if (opened) this.callbacks.lost(why);
  }
}

/** What this browser decodes, as the server calls it: some have no H.264. */
async function decoded() {
  const { supported } = await VideoDecoder.isConfigSupported({ codec: "avc1.42e01f" });
  return supported ? "h264,vp8" : "vp8";
}

/**
 * @param {number} code
 * @param {string} reason
 */
function whyClosed(code, reason) {
  if (code === SLOW_CONSUMER) return new Error("the line is too slow for the picture");
  if (code > PRIVATE) return new ServerError(reason || "The server refused.", { status: code - PRIVATE });
  return new Error("the server closed the connection");
}
