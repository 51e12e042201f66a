/**
 * Send at most so often, and always the newest value: what a slider needs. Pure but for its clock and timer,
 * which tests replace.
 */
export class LatestWins {
  /**
   * @param {(value: any) => void} send
   * @param {{intervalMs?: number, now?: () => number, schedule?: (run: () => void, delayMs: number) => any,
   *   cancel?: (timer: any) => void}} [clock]
   */
  constructor(
    send,
    { intervalMs = 50, now = () => performance.now(), schedule = setTimeout, cancel = clearTimeout } = {},
  ) {
    this.send = send;
    this.intervalMs = intervalMs;
    this.now = now;
    /** @type {typeof schedule} */
    this.schedule = (callback, delayMs) => schedule(callback, delayMs);
    /** @type {typeof cancel} */
    this.cancelTimer = (timer) => cancel(timer);
    this.lastMs = -Infinity;
    /** @type {any} What the clock gave for the timer that runs. */
    this.timer = null;
    /** @type {{value: any} | undefined} */
    this.waiting = undefined;
  }

  /**
   * Send `value` now, or as soon as the interval allows unless a newer one replaces it.
   * @param {unknown} [value]
   */
  push(value) {
    this.waiting = { value };
    if (this.timer !== null) return;
    const waitMs = this.lastMs + this.intervalMs - this.now();
    if (waitMs <= 0) this.flush();
    else this.timer = this.schedule(() => this.flush(), waitMs);
  }

  /** Send what waits, at once. */
  flush() {
    if (this.timer !== null) this.cancelTimer(this.timer);
    this.timer = null;
    if (this.waiting === undefined) return;
    const { value } = this.waiting;
    this.waiting = undefined;
    this.lastMs = this.now();
    this.send(value);
  }

  /** Drop what waits. */
  cancel() {
    if (this.timer !== null) this.cancelTimer(this.timer);
    this.timer = null;
    this.waiting = undefined;
  }
}
