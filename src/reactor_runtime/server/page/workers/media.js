/**
 * The WebSocket rung, off the page's own thread: the socket, the decoders, and the acks by which the server knows what
 * the line takes. A script of its own, which runs as a worker.
 *
 *   socket ─▶ header ─▶ decoder ─▶ newest picture ─▶ the page's track, or the page itself where it has none
 *        ◀─ ack, once a picture has left its decoder
 *
 * Told by the page: {open, url, protocols, tracks}, {say: text}, {send: bytes}. Tells it: {opened}, {said: text},
 * {shown, …}, {frame, …}, {wanted: track}, {closed, code, reason}.
 */

const VERSION = 1;
const [VIDEO, ACK, KEYFRAME] = [1, 2, 3];
const HEADER_BYTES = 16;
const [IS_KEY, IS_VP8] = [1, 2];

const page = /** @type {any} */ (globalThis);
/** @type {WebSocket | null} */
let socket = null;
/** @type {Map<number, Track>} */
const tracks = new Map();

class Track {
  /**
   * @param {number} index
   * @param {WritableStream | null} writable
   */
  constructor(index, writable) {
    this.index = index;
    this.writer = writable?.getWriter() ?? null;
    /** @type {VideoDecoder | null} */
    this.decoder = null;
    this.codec = "";
    this.software = false;
    /** @type {Map<number, {id: number, receivedMs: number}>} What is being decoded, by its time stamp. */
    this.waiting = new Map();
    this.lastUs = 0;
    this.counts = { bytes: 0, decoded: 0, dropped: 0 };
  }

  /**
   * @param {ArrayBuffer} message
   * @param {DataView} view
   */
  take(message, view) {
    const flags = view.getUint8(3);
    const id = view.getUint32(4);
    const data = new Uint8Array(message, HEADER_BYTES);
    const key = (flags & IS_KEY) !== 0;
    this.counts.bytes += message.byteLength;
    if (key) this.configure(flags & IS_VP8 ? "vp8" : avcName(data));
    if (this.decoder?.state !== "configured") return;
    // The decoder hands the time stamp on, so each must be its own.
    this.lastUs = Math.max(this.lastUs + 1, Number(view.getBigUint64(8)));
    this.waiting.set(this.lastUs, { id, receivedMs: performance.timeOrigin + performance.now() });
    try {
      this.decoder.decode(new EncodedVideoChunk({ type: key ? "key" : "delta", timestamp: this.lastUs, data }));
    } catch {
      this.fail();
    }
  }

  /** @param {string} codec */
  configure(codec) {
    if (this.decoder?.state === "configured" && codec === this.codec) return;
    this.close();
    this.codec = codec;
    const decoder = new VideoDecoder({
      output: (frame) => this.show(frame),
      error: () => decoder === this.decoder && this.fail(),
    });
    this.decoder = decoder;
    decoder.configure({
      codec,
      optimizeForLatency: true,
      hardwareAcceleration: this.software ? "prefer-software" : "no-preference",
    });
  }

  /** A decoder broke, or the browser took it back: another one begins with the next keyframe. */
  fail() {
    this.software = true;
    for (const { id } of this.waiting.values()) ack(this.index, id, 0);
    this.close();
    transmit(header(KEYFRAME, this.index, 0, 0));
  }

  /** @param {VideoFrame} frame */
  show(frame) {
    const known = this.waiting.get(frame.timestamp);
    this.waiting.delete(frame.timestamp);
    if (!known) {
      frame.close();
      return;
    }
    const decodedMs = performance.timeOrigin + performance.now();
    ack(this.index, known.id, this.decoder?.decodeQueueSize ?? 0);
    this.counts.decoded += 1;
    const told = {
      track: this.index,
      id: known.id,
      us: frame.timestamp,
      receivedMs: known.receivedMs,
      decodeMs: decodedMs - known.receivedMs,
      width: frame.displayWidth,
      height: frame.displayHeight,
      codec: this.codec,
      counts: this.counts,
    };
    if (!this.writer) {
      page.postMessage({ frame, shown: told }, [frame]);
      return;
    }
    // What is not taken yet is older than this one, and whoever displays takes only one.
    if ((this.writer.desiredSize ?? 1) <= 0) {
      this.counts.dropped += 1;
      frame.close();
    } else {
      this.writer.write(frame).catch(() => {});
    }
    page.postMessage({ shown: told });
  }

  close() {
    if (this.decoder && this.decoder.state !== "closed") this.decoder.close();
    this.decoder = null;
    this.waiting.clear();
  }
}

/**
 * What the browser calls this H.264: profile, constraints and level of its first parameter set.
 * @param {Uint8Array} data Annex B
 */
function avcName(data) {
  for (let at = 2; at + 4 < data.length; at += 1) {
    if (data[at] === 1 && data[at - 1] === 0 && data[at - 2] === 0 && (data[at + 1] & 31) === 7) {
      const told = [...data.subarray(at + 2, at + 5)];
      return `avc1.${told.map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
    }
  }
  return "avc1.42e01f";
}

/**
 * @param {number} kind
 * @param {number} track
 * @param {number} flags
 * @param {number} id
 */
function header(kind, track, flags, id) {
  const view = new DataView(new ArrayBuffer(HEADER_BYTES));
  [VERSION, kind, track, flags].forEach((byte, at) => view.setUint8(at, byte));
  view.setUint32(4, id);
  return view.buffer;
}

/**
 * @param {number} track
 * @param {number} id
 * @param {number} queue
 */
function ack(track, id, queue) {
  transmit(header(ACK, track, Math.min(255, queue), id));
}

/** @param {string | ArrayBuffer} message */
function transmit(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(message);
}

/** @param {MessageEvent} event */
function receive({ data }) {
  if (typeof data === "string") {
    page.postMessage({ said: data });
    return;
  }
  const view = new DataView(data);
  if (data.byteLength < HEADER_BYTES || view.getUint8(0) !== VERSION) return;
  const index = view.getUint8(2);
  if (view.getUint8(1) === VIDEO) tracks.get(index)?.take(data, view);
  else if (view.getUint8(1) === KEYFRAME) page.postMessage({ wanted: index });
}

page.onmessage = (/** @type {MessageEvent} */ { data }) => {
  if ("say" in data) transmit(data.say);
  else if ("send" in data) transmit(data.send);
  else if ("open" in data) {
    for (const { index, writable } of data.tracks) tracks.set(index, new Track(index, writable));
    const opening = new WebSocket(data.url, data.protocols);
    opening.binaryType = "arraybuffer";
    opening.onopen = () => page.postMessage({ opened: true });
    opening.onmessage = receive;
    opening.onclose = ({ code, reason }) => {
      for (const track of tracks.values()) track.close();
      page.postMessage({ closed: true, code, reason });
    };
    socket = opening;
  } else if ("close" in data) socket?.close();
};
