/**
 * One thing at a time: each beginning is a round of its own, and what belongs to an earlier one stops at its
 * next step.
 */

/** This round is not the newest any more. */
export class Cancelled extends Error {}

export class Rounds {
  constructor() {
    this.now = 0;
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
   * @param {number} round
   * @param {number} ms
   */
  async pause(round, ms) {
    await new Promise((done) => setTimeout(done, ms));
    this.check(round);
  }

  /**
   * @param {number} round
   * @param {number} seconds
   * @param {(leftS: number) => void} tell called at once, and then every second
   */
  async countdown(round, seconds, tell) {
    for (let left = seconds; left > 0; left -= 1) {
      tell(Math.ceil(left));
      await this.pause(round, Math.min(left, 1) * 1000);
    }
  }
}
