/**
 * The server's clock, read on this page's. Pure: times come in as milliseconds.
 *
 * A message says what the server's clock showed when it left. What its arrival lies later is the difference of
 * the two clocks and the way here; the least of the last half minute has waited nowhere, and then the way is
 * half of the shortest round trip.
 */

const KEPT_MS = 30_000;

/** @typedef {{atMs: number, ms: number}} Read */

export class ServerClock {
  constructor() {
    /** @type {Read[]} Arrival on the page's clock minus the server's, of the last messages. */
    this.later = [];
    /** @type {Read[]} */
    this.roundTrips = [];
  }

  /** Another connection: another server's clock, perhaps. */
  clear() {
    this.later.length = this.roundTrips.length = 0;
  }

  /**
   * A message came that left when the server's clock showed `serverMs`.
   * @param {number} serverMs
   * @param {number} nowMs
   */
  heard(serverMs, nowMs) {
    keep(this.later, nowMs - serverMs, nowMs);
  }

  /**
   * @param {number | null} ms there and back, or null where it is not known
   * @param {number} nowMs
   */
  tookRoundTrip(ms, nowMs) {
    if (ms !== null) keep(this.roundTrips, ms, nowMs);
  }

  /**
   * A moment of the server's on the page's clock; null before anything was heard.
   * @param {number} serverMs
   */
  toPage(serverMs) {
    if (this.later.length === 0) return null;
    const wayMs = this.roundTrips.length > 0 ? least(this.roundTrips) / 2 : 0;
    return serverMs + least(this.later) - wayMs;
  }
}

/**
 * @param {Read[]} reads
 * @param {number} ms
 * @param {number} atMs
 */
function keep(reads, ms, atMs) {
  reads.push({ atMs, ms });
  while (reads[0].atMs < atMs - KEPT_MS) reads.shift();
}

/** @param {Read[]} reads */
const least = (reads) => Math.min(...reads.map(({ ms }) => ms));
