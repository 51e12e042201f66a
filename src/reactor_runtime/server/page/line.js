/**
 * How good the line to the server is, judged by what arrives over it: the server says its numbers every second, so a
 * silence is the line's. And whether a silent server is there at all: it is asked, over HTTP.
 */

/** Nothing for so long is a weak line: with the pause between two looks, it is said within three seconds. */
export const SILENT_MS = 2_000;
/** A browser that says it is offline is believed once nothing arrives either: its server may be on this machine. */
export const OFFLINE_MS = 1_000;
/** A second's packets of which this share is lost make a weak line, if there were enough to tell. */
export const LOST_SHARE = 0.1;
const PACKETS_MIN = 20;
const LOOK_MS = 250;
/** After such a silence frames are missing, and the picture needs a new beginning. */
const GAP_MS = 1_500;
/** How long a connection may take to be heard again once the browser is online again. */
const RESUME_MS = 500;
const MEASURE_MS = 1_000;

/** @typedef {{state: "good" | "weak" | "offline", text: string}} Judged */
/** @typedef {{packetsLost: number, packetsReceived: number}} Packets both count up */

/**
 * Judge a line. Pure.
 * @param {{silentMs: number, online: boolean, lost: number}} now `lost` is the share of the last second's packets
 * @returns {Judged}
 */
export function judge({ silentMs, online, lost }) {
  if (!online && silentMs >= OFFLINE_MS) return { state: "offline", text: "You are offline" };
  if (silentMs >= SILENT_MS) {
    return { state: "weak", text: `Weak connection: nothing for ${Math.floor(silentMs / 1000)} s` };
  }
  if (lost >= LOST_SHARE) return { state: "weak", text: `Weak connection: ${Math.round(lost * 100)} % is lost` };
  return { state: "good", text: "" };
}

/**
 * The share of packets that were lost between two measurements. Pure.
 * @param {Packets | null} before
 * @param {Packets} now
 */
export function lostShare(before, now) {
  if (!before) return 0;
  const lost = Math.max(0, now.packetsLost - before.packetsLost);
  const sent = lost + now.packetsReceived - before.packetsReceived;
  return sent >= PACKETS_MIN ? lost / sent : 0;
}

export class Line {
  /**
   * @param {{onChange: (judged: Judged) => void, onSilent: () => void, onGap: () => void,
   *   onDead: () => void}} told `onSilent` is called again and again while nothing arrives, `onGap` after a silence, `onDead` when nothing arrives although the
   *   browser is online again
   */
  constructor({ onChange, onSilent, onGap, onDead }) {
    this.onChange = onChange;
    this.onGap = onGap;
    this.onSilent = onSilent;
    this.onDead = onDead;
    /** @type {import("./connection.js").Connection | null} */
    this.connection = null;
    this.heardMs = 0;
    this.measuredMs = 0;
    this.lost = 0;
    /** @type {Packets | null} */
    this.packets = null;
    this.said = "";
    setInterval(() => this.look(), LOOK_MS);
    addEventListener("online", () => this.resume());
    // Timers sleep in the background: what was not looked at was not silent.
    document.addEventListener("visibilitychange", () => (this.heardMs = performance.now()));
  }

  /**
   * Judge this connection from now on; null for none.
   * @param {import("./connection.js").Connection | null} connection
   */
  watch(connection) {
    this.connection = connection;
    this.packets = null;
    this.lost = 0;
    this.heardMs = performance.now();
    this.tell({ state: "good", text: "" });
  }

  /** Something arrived. */
  heard() {
    const nowMs = performance.now();
    const silentMs = nowMs - this.heardMs;
    this.heardMs = nowMs;
    if (this.connection !== null && silentMs >= GAP_MS && !document.hidden) {
      // What is lost of a gap is lost by the gap, and told.
      this.packets = null;
      this.lost = 0;
      this.onGap();
    }
    // Whoever was away is back now, and not at the next look.
    if (this.said !== "" && this.lost === 0) this.tell({ state: "good", text: "" });
  }

  look() {
    if (this.connection === null || document.hidden) return;
    const nowMs = performance.now();
    if (nowMs - this.measuredMs >= MEASURE_MS) {
      this.measuredMs = nowMs;
      this.measure(this.connection);
    }
    const judged = judge({ silentMs: nowMs - this.heardMs, online: navigator.onLine, lost: this.lost });
    this.tell(judged);
    if (judged.state === "weak" && nowMs - this.heardMs >= SILENT_MS) this.onSilent();
  }

  /** The network is back. A short gap is survived by the connection; after a longer one the server has given it up. */
  resume() {
    const { connection } = this;
    const fromMs = performance.now();
    setTimeout(() => {
      if (connection !== null && connection === this.connection && this.heardMs < fromMs) this.onDead();
    }, RESUME_MS);
  }

  /** @param {import("./connection.js").Connection} connection */
  async measure(connection) {
    const report = await connection.peer?.getStats().catch(() => null);
    if (!report || connection !== this.connection) return;
    /** @type {Record<string, any>[]} */
    const all = [.../** @type {any} */ (report).values()];
    const video = all.find((stat) => stat.type === "inbound-rtp" && stat.kind === "video");
    if (!video) return;
    const now = { packetsLost: video.packetsLost ?? 0, packetsReceived: video.packetsReceived ?? 0 };
    this.lost = lostShare(this.packets, now);
    this.packets = now;
  }

  /** @param {Judged} judged */
  tell(judged) {
    if (judged.text === this.said) return;
    this.said = judged.text;
    this.onChange(judged);
  }
}
