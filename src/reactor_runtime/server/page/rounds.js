/**
 * One thing at a time: each beginning is a round of its own, and what belongs to an earlier one stops at its
 * next step.
 */

/** This round is not the newest any more. */
export class Cancelled extends Error {}

export class Rounds {
  constructor() {
    this.now = 0;
    /** Ends the pause that is under way. */
    this.wake = () => {};
  }

  /** Begin a new round; the one before is cancelled. */
  next() {
    this.now += 1;
    return this.now;
  }

  /**
   * Throws Cancelled when `round` is over.
   * @param {number} round
   */
  check(round) {
    if (round !== this.now) throw new Cancelled();
  }

  /**
   * Resolves to whether it was cut short.
   * @param {number} round
   * @param {number} ms
   */
  async pause(round, ms) {
    let hurried = false;
    await new Promise((done) => {
      const timer = setTimeout(done, ms);
      this.wake = () => {
        hurried = true;
        clearTimeout(timer);
        done(undefined);
      };
    });
    this.wake = () => {};
    this.check(round);
    return hurried;
  }

  /** What is waited for may be there now: end the pause, and the countdown that it is part of. */
  hurry() {
    this.wake();
  }

  /**
   * @param {number} round
   * @param {number} seconds
   * @param {(leftS: number) => void} tell called at once, and then every second
   */
  async countdown(round, seconds, tell) {
    for (let left = seconds; left > 0; left -= 1) {
      tell(Math.ceil(left));
      if (await this.pause(round, Math.min(left, 1) * 1000)) return;
    }
  }
}
