/** What the browser knows of a connection, read from its statistics; what is measured is of the last second. */

/**
 * @typedef {{width: number, height: number, codec: string, bitrateKbps: number | null,
 *   roundTripMs: number | null, jitterBufferMs: number | null, decodeMs: number | null,
 *   framesDecoded: number, framesDropped: number, freezes: number, frozenMs: number,
 *   packetsLost: number, qp: number | null, pictureKb: number | null, rung: string}} Measured
 */

/** How coarse a picture is, by its quantizer: to which value it is called what. Codecs count differently. */
const QUALITIES = {
  H264: { fine: 26, fair: 34 },
  VP8: { fine: 32, fair: 72 },
};

export class LinkStats {
  constructor() {
    /** @type {Record<string, any>} */
    this.before = {};
  }

  /**
   * @param {RTCStatsReport} report
   * @returns {Measured}
   */
  read(report) {
    /** @type {Record<string, any>[]} */
    const all = [.../** @type {any} */ (report).values()];
    const video = all.find((stat) => stat.type === "inbound-rtp" && stat.kind === "video") ?? {};
    const pair =
      all.find((stat) => stat.type === "candidate-pair" && stat.nominated && stat.state === "succeeded") ??
      {};
    const { before } = this;
    this.before = video;
    const seconds = (video.timestamp - before.timestamp) / 1000;
    /** @param {string} name */
    const grown = (name) => (video[name] ?? 0) - (before[name] ?? 0);
    /**
     * @param {string} sum
     * @param {string} count
     */
    const mean = (sum, count) =>
      grown(count) > 0 && video[sum] !== undefined ? grown(sum) / grown(count) : null;
    /** @param {number | null} value */
    const thousand = (value) => (value === null ? null : value * 1000);
    const pictureBytes = mean("bytesReceived", "framesDecoded");
    return {
      width: video.frameWidth ?? 0,
      height: video.frameHeight ?? 0,
      codec: /** @type {any} */ (report).get(video.codecId)?.mimeType?.split("/")[1] ?? "",
      bitrateKbps: seconds > 0 ? (grown("bytesReceived") * 8) / seconds / 1000 : null,
      roundTripMs: pair.currentRoundTripTime !== undefined ? pair.currentRoundTripTime * 1000 : null,
      jitterBufferMs: thousand(mean("jitterBufferDelay", "jitterBufferEmittedCount")),
      decodeMs: thousand(mean("totalDecodeTime", "framesDecoded")),
      framesDecoded: video.framesDecoded ?? 0,
      framesDropped: video.framesDropped ?? 0,
      freezes: video.freezeCount ?? 0,
      frozenMs: (video.totalFreezesDuration ?? 0) * 1000,
      packetsLost: video.packetsLost ?? 0,
      qp: mean("qpSum", "framesDecoded"),
      pictureKb: pictureBytes === null ? null : pictureBytes / 1000,
      rung: rungOf(/** @type {any} */ (report), pair),
    };
  }
}

/**
 * What carries the pictures, in words.
 * @param {Map<string, any>} report
 * @param {Record<string, any>} pair
 */
function rungOf(report, pair) {
  const ends = [report.get(pair.localCandidateId), report.get(pair.remoteCandidateId)];
  const relay = ends.find((end) => end?.candidateType === "relay");
  const protocol = relay?.relayProtocol ?? ends[0]?.protocol ?? "";
  return protocol && `${protocol.toUpperCase()}${relay ? " through a relay" : ""}`;
}

/**
 * @param {string} codec
 * @param {number | null} qp
 */
export function quality(codec, qp) {
  const steps = /** @type {Record<string, {fine: number, fair: number}>} */ (QUALITIES)[codec];
  if (qp === null || !steps) return "";
  if (qp <= steps.fine) return "fine";
  return qp <= steps.fair ? "fair" : "coarse";
}
