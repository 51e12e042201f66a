/**
 * A person's own video over the WebSocket: each picture of a track is encoded and sent. It stands where an RTCRtpSender
 * stands on WebRTC, and is used in the same way.
 */

const HEADER_BYTES = 16;
const [VERSION, VIDEO, IS_KEY, IS_VP8] = [1, 1, 1, 2];
const BITS_PER_S = 1_500_000;
const MAX_SIDE = 1280;
/** Pictures that wait for the encoder. More: left out. */
const WAITING = 2;

export class SocketCamera {
  /**
   * @param {number} index of the track
   * @param {(bytes: ArrayBuffer) => void} send
   */
  constructor(index, send) {
    this.index = index;
    this.send = send;
    this.player = document.createElement("video");
    Object.assign(this.player, { muted: true, playsInline: true });
    /** @type {VideoEncoder | null} */
    this.encoder = null;
    this.size = "";
    this.count = 0;
    this.keyframe = true;
    this.generation = 0;
  }

  wantKeyframe() {
    this.keyframe = true;
  }

  /** @param {MediaStreamTrack | null} track */
  async replaceTrack(track) {
    this.generation += 1;
    this.player.srcObject = track && new MediaStream([track]);
    if (!track) {
      if (this.encoder && this.encoder.state !== "closed") this.encoder.close();
      this.encoder = null;
      this.size = "";
      return;
    }
    if (!("VideoEncoder" in globalThis)) throw new Error("this browser cannot encode video by itself");
    this.keyframe = true;
    await this.player.play();
    this.watch(this.generation);
  }

  /** @param {number} generation */
  watch(generation) {
    this.player.requestVideoFrameCallback((nowMs) => {
      if (generation !== this.generation) return;
      this.take(nowMs);
      this.watch(generation);
    });
  }

  /** @param {number} nowMs */
  take(nowMs) {
    const { videoWidth, videoHeight } = this.player;
    if (videoWidth === 0) return;
    const shrink = Math.min(1, MAX_SIDE / Math.max(videoWidth, videoHeight));
    const [width, height] = [videoWidth, videoHeight].map((side) => 2 * Math.round((side * shrink) / 2));
    const encoder = this.configured(width, height);
    if (encoder.encodeQueueSize > WAITING) return;
    const frame = new VideoFrame(this.player, { timestamp: Math.round(nowMs * 1000) });
    encoder.encode(frame, { keyFrame: this.keyframe });
    this.keyframe = false;
    frame.close();
  }

  /**
   * @param {number} width
   * @param {number} height
   */
  configured(width, height) {
    if (this.encoder?.state === "configured" && this.size === `${width}x${height}`) return this.encoder;
    if (this.encoder && this.encoder.state !== "closed") this.encoder.close();
    const encoder = new VideoEncoder({
      output: (chunk) => this.pass(chunk),
      error: () => {
        this.keyframe = true;
      },
    });
    encoder.configure({ codec: "vp8", width, height, bitrate: BITS_PER_S, framerate: 30, latencyMode: "realtime" });
    this.encoder = encoder;
    this.size = `${width}x${height}`;
    this.keyframe = true;
    return encoder;
  }

  /** @param {EncodedVideoChunk} chunk */
  pass(chunk) {
    const bytes = new ArrayBuffer(HEADER_BYTES + chunk.byteLength);
    const view = new DataView(bytes);
    const flags = IS_VP8 | (chunk.type === "key" ? IS_KEY : 0);
    [VERSION, VIDEO, this.index, flags].forEach((byte, at) => view.setUint8(at, byte));
    this.count += 1;
    view.setUint32(4, this.count);
    view.setBigUint64(8, BigInt(Math.max(0, chunk.timestamp)));
    chunk.copyTo(new Uint8Array(bytes, HEADER_BYTES));
    this.send(bytes);
  }
}
