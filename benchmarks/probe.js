// Runs inside the product's own page during a benchmark: reads the stamp of every displayed picture.
//
// Times are wall-clock milliseconds; a frame's moment is its displayed-frame callback, which comes once per
// refresh of the screen, so up to one refresh (16.7 ms at 60 Hz) of every figure is waiting for it.

import { STAMP_AREA, readStampArea, stampAgeMs } from "STAMP_MODULE";

const wallMs = () => performance.timeOrigin + performance.now();

export class Probe {
  constructor(page) {
    this.page = page;
    this.video = document.querySelector("video");
    this.canvas = new OffscreenCanvas(STAMP_AREA.width, STAMP_AREA.height);
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.forget();
    const look = (_now, { presentationTime }) => {
      this.video.requestVideoFrameCallback(look);
      this.look(wallMs(), performance.timeOrigin + presentationTime);
    };
    this.video.requestVideoFrameCallback(look);
  }

  forget() {
    this.frames = [];
    this.unread = 0;
  }

  /** `presentedMs` is when the decoded picture was handed to the screen, which shows it at its next refresh. */
  look(nowMs, presentedMs) {
    // On a poor line the picture may be the low rendition: half the size, and so is the stamp.
    const stamp = this.stamp(1) ?? this.stamp(2);
    if (stamp === null) this.unread += 1;
    const [ageMs, decodedMs] = [nowMs, presentedMs].map((atMs) => stamp && stampAgeMs(stamp, atMs));
    this.frames.push({ atMs: nowMs, ageMs, decodedMs, frame: stamp?.frame, command: stamp?.command });
  }

  stamp(times) {
    const { x, y, width, height } = STAMP_AREA;
    this.context.drawImage(this.video, x / times, y / times, width / times, height / times, 0, 0, width, height);
    return readStampArea(this.context.getImageData(0, 0, width, height));
  }

  /** Wait for a displayed picture that `accept` takes; resolve to its moment, reject after `withinMs`. */
  async until(accept, withinMs = 10_000) {
    let seen = this.frames.length;
    const deadline = performance.now() + withinMs;
    for (;;) {
      for (; seen < this.frames.length; seen += 1) if (accept(this.frames[seen])) return this.frames[seen].atMs;
      if (performance.now() > deadline) throw new Error("the awaited picture was not displayed");
      await new Promise((done) => setTimeout(done, 1));
    }
  }

  /** Send `mark` once per `everyMs` with jitter; resolve to [{shownMs, handledMs}], null for what was not seen. */
  async commands(count, everyMs) {
    const results = [];
    for (let number = 1; number <= count; number += 1) {
      await new Promise((done) => setTimeout(done, everyMs * (0.5 + Math.random())));
      const mark = 1000 + number;
      const sentMs = wallMs();
      const sent = this.page.sendCommand("mark", { number: mark });
      try {
        const atMs = await this.until((frame) => frame.command === mark, 2_000);
        const reply = (await sent).receipt.reply;
        results.push({ shownMs: atMs - sentMs, handledMs: reply.data.handled_at_ms - sentMs });
      } catch {
        results.push(null);
      }
    }
    return results;
  }

  /** Milliseconds from starting a session on this loaded page to its first displayed picture. */
  async connect() {
    this.forget();
    const beganMs = wallMs();
    this.page.start();
    return (await this.until(() => true)) - beganMs;
  }

  /** Leave, and at once come back as the next user: milliseconds to the first picture of the new session. */
  async leaveAndReturn() {
    const before = this.page.sessionId;
    const beganMs = wallMs();
    this.page.stop();
    this.forget();
    this.page.start();
    return (await this.until(() => this.page.sessionId !== before)) - beganMs;
  }

  async inbound() {
    if (!this.page.peer) {
      const { framesDecoded, framesDropped } = this.page.stats;
      return { framesDecoded, framesDropped };
    }
    for (const report of (await this.page.peer.getStats()).values())
      if (report.type === "inbound-rtp" && report.kind === "video") {
        const { timestamp, framesDecoded, framesDropped, bytesReceived, qpSum, jitterBufferDelay, jitterBufferEmittedCount, totalDecodeTime } = report;
        return { timestamp, framesDecoded, framesDropped, bytesReceived, qpSum, jitterBufferDelay, jitterBufferEmittedCount, totalDecodeTime };
      }
    return null;
  }
}
