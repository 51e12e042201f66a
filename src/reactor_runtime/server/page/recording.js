/**
 * Clips of the session: asks the runtime for one, waits until its last segment is closed on the server, and puts
 * the segments together to one MP4. Loaded with the first of them.
 *
 * What one presses record and stop for is a clip too, from the one moment to the other. Its place is asked for
 * at the beginning, so that it can be fetched when the session, or the connection, has ended meanwhile.
 */

import { byId } from "./dom.js";
import { RecordTime } from "./recordtime.js";
import { ServerError } from "./server.js";
import { encodeRuntime } from "./wire.js";

const PROMISE_MS = 10_000;
const SEGMENT_MS = 30_000;
/** A clip's last segment closes within some seconds, unless the session hangs. */
const CLIP_READY_MS = 20_000;
const CLIP_POLL_MS = 300;

/**
 * `send` puts text on the data channel and says whether it could; `onFilm(blob)` gets each film; `onChange(state)`
 * is told {busy, recording} whenever one of them changed; `onProblem(text)` what went wrong.
 */
/**
 * @typedef {{session_id: string, end_marker: number, playlist_url: string}} Clip
 * @typedef {{resolve: (clip: Clip) => void, reject: (error: Error) => void,
 *   timer: ReturnType<typeof setTimeout>}} Asked
 */

export class Recording {
  /**
   * @param {import("./server.js").Server} server
   * @param {{send: (text: string) => boolean, onFilm: (film: Blob) => void,
   *   onChange: (now: {busy: boolean, recording: boolean}) => void, onProblem: (text: string) => void}} told
   */
  constructor(server, { send, onFilm, onChange, onProblem }) {
    this.server = server;
    this.send = send;
    this.onFilm = onFilm;
    this.onChange = onChange;
    this.onProblem = onProblem;
    /** @type {Asked[]} */
    this.promises = [];
    this.fetching = 0;
    this.time = new RecordTime(byId("record-time"));
    /** @type {{clip: Clip, ms: number} | null} While recording: the clip up to then, and when that was. */
    this.since = null;
  }

  /**
   * Get a film of the last seconds.
   * @param {number} seconds
   */
  async clip(seconds) {
    await this.film(async () => {
      const clip = await this.ask("requestClip", { duration_seconds: seconds });
      return clip.playlist_url;
    });
  }

  /** Begin to record, or end it and get the film. */
  async toggle() {
    if (this.since) {
      await this.finish();
      return;
    }
    try {
      const clip = await this.ask("requestRecording", {});
      this.since = { clip, ms: performance.now() };
      this.changed();
    } catch (error) {
      this.onProblem(/** @type {Error} */ (error).message);
    }
  }

  /** End what is being recorded, if anything is, and get the film. */
  async finish() {
    if (!this.since) return;
    const { clip, ms } = this.since;
    this.since = null;
    const end = clip.end_marker + Math.max(0.1, (performance.now() - ms) / 1000);
    const query = new URLSearchParams({
      session_id: clip.session_id,
      start: clip.end_marker.toFixed(3),
      end: end.toFixed(3),
    });
    await this.film(async () => `clips?${query}`);
  }

  /**
   * The runtime answered. It does so in the order in which it was asked.
   * @param {Clip | null} clip
   * @param {string} [failure]
   */
  answered(clip, failure = "") {
    const asked = this.promises.shift();
    if (!asked) return;
    clearTimeout(asked.timer);
    if (clip) asked.resolve(clip);
    else asked.reject(new Error(`No clip: ${failure || "the recorder failed"}.`));
  }

  /** The connection is gone, and its answers with it. */
  lost() {
    while (this.promises.length > 0) this.answered(null, "the connection was lost");
    this.finish();
  }

  /**
   * @param {string} type
   * @param {Record<string, unknown>} data
   * @returns {Promise<Clip>}
   */
  ask(type, data) {
    return new Promise((resolve, reject) => {
      if (!this.send(encodeRuntime(type, data))) {
        reject(new Error("There is no connection to the model."));
        return;
      }
      // Answers carry no id: one that never comes would be taken for the next one's, so all are given up.
      const timer = setTimeout(() => this.giveUp(), PROMISE_MS);
      this.promises.push({ resolve, reject, timer });
    });
  }

  giveUp() {
    while (this.promises.length > 0) this.answered(null, "the server did not answer");
  }

  /** @param {() => Promise<string>} place */
  async film(place) {
    this.fetching += 1;
    this.changed();
    try {
      this.onFilm(await filmAt(this.server, await place()));
    } catch (error) {
      this.onProblem(/** @type {Error} */ (error).message);
    } finally {
      this.fetching -= 1;
      this.changed();
    }
  }

  changed() {
    this.time.show(this.since !== null);
    this.onChange({ busy: this.fetching > 0, recording: this.since !== null });
  }
}

/**
 * Return the addresses a playlist names, the init segment first.
 * @param {string} playlist
 */
export function parts(playlist) {
  const lines = playlist.split("\n").map((line) => line.trim());
  const map = lines.map((line) => /^#EXT-X-MAP:URI="([^"]+)"/.exec(line)).find(Boolean);
  return [...(map ? [map[1]] : []), ...lines.filter((line) => line && !line.startsWith("#"))];
}

/**
 * Fetch a clip, as soon as its playlist is ready, and put its parts together to one MP4.
 * @param {import("./server.js").Server} server
 * @param {string} address
 */
async function filmAt(server, address) {
  /** @param {string} path */
  const own = (path) => path.replace(/^\//, ""); // below the page's own address, whatever is in front of it
  const untilMs = performance.now() + CLIP_READY_MS;
  let playlist = await server.call("GET", own(address));
  while (playlist.status === 202) {
    if (performance.now() > untilMs) throw new ServerError("The recording did not become ready.");
    await new Promise((done) => setTimeout(done, CLIP_POLL_MS));
    playlist = await server.call("GET", own(address));
  }
  const pieces = [];
  for (const part of parts(await playlist.text())) {
    const response = await server.call("GET", own(part), { timeoutMs: SEGMENT_MS });
    pieces.push(await response.blob());
  }
  return new Blob(pieces, { type: "video/mp4" });
}
