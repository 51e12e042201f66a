/**
 * Late pictures one by one. A worker, which the pictures pass on their way from the network to the decoder.
 *
 *   lost packet ... sent again ─▶ four pictures at once ─▶ one after the other, at twice the pace ─▶ decoder
 *
 * We ask for no delay of playout, so the browser shows what it has decoded at once: of pictures that arrive together
 * it would show the last. A picture that comes in time is passed on as it comes.
 */

/** Pictures that wait together are spread over so long, at most at twice their own pace: later ones are hardly later. */
const SPREAD_MS = 60;
/** RTP's clock of video. */
const CLOCK_PER_MS = 90;

/** @typedef {{timestamp: number}} Picture an encoded frame, with the time of RTP */

export class Pace {
  constructor() {
    this.leftMs = -Infinity;
    this.timestamp = 0;
  }

  /**
   * How long a picture waits, if so many wait behind it; it is taken to leave then.
   * @param {Picture} picture
   * @param {number} waiting
   * @param {number} nowMs
   */
  waitMs({ timestamp }, waiting, nowMs) {
    const apartMs = ((timestamp - this.timestamp) >>> 0) / CLOCK_PER_MS;
    this.timestamp = timestamp;
    const pauseMs = Math.min(apartMs / 2, SPREAD_MS / (waiting + 1));
    this.leftMs = Math.max(nowMs, this.leftMs + pauseMs);
    return this.leftMs - nowMs;
  }
}

/** @param {{readable: ReadableStream, writable: WritableStream}} transformer */
async function pass({ readable, writable }) {
  const [reader, writer] = [readable.getReader(), writable.getWriter()];
  const pace = new Pace();
  /** @type {Picture[]} */
  const waiting = [];
  let running = false;
  const run = async () => {
    running = true;
    for (let picture = waiting.shift(); picture; picture = waiting.shift()) {
      const waitMs = pace.waitMs(picture, waiting.length, performance.now());
      if (waitMs >= 1) await new Promise((done) => setTimeout(done, waitMs));
      writer.write(picture).catch(() => {}); // the connection is gone
    }
    running = false;
  };
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    waiting.push(value);
    if (!running) run();
  }
}

if ("DedicatedWorkerGlobalScope" in globalThis) {
  addEventListener("rtctransform", (event) => pass(/** @type {any} */ (event).transformer).catch(() => {}));
}
