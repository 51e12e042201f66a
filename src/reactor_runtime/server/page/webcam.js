/** Sending pictures to the model: the camera, or a video file that plays in a loop, as `ownvideo.js` opens them. */

export class Webcam {
  /**
   * `onChange({stream, from})` is called when sharing begins (from "camera" or "file") and with null when it
   * ends.
   * @param {{trackName: string, onChange: (sharing: {stream: MediaStream, from: string} | null) => void,
   *   onProblem: (text: string) => void}} told
   */
  constructor({ trackName, onChange, onProblem }) {
    this.trackName = trackName;
    this.onChange = onChange;
    this.onProblem = onProblem;
    /** @type {import("./connection.js").Connection | null} */
    this.connection = null;
    /** @type {MediaStream | null} */
    this.stream = null;
    this.from = "";
    /** @type {HTMLVideoElement | null} */
    this.player = null;
  }

  get sharing() {
    return this.stream !== null;
  }

  /**
   * A connection is there: go on sharing on it.
   * @param {import("./connection.js").Connection} connection
   */
  async attach(connection) {
    this.connection = connection;
    if (this.sharing) await this.publish();
  }

  detach() {
    this.connection = null;
  }

  shareCamera() {
    return this.open(async ({ openCamera }) => this.share(await openCamera(), "camera"));
  }

  /** @param {File} file */
  shareFile(file) {
    return this.open(async ({ openFilm }) => {
      const { stream, player } = await openFilm(file);
      await this.share(stream, "file", player);
    });
  }

  /** @param {(own: typeof import("./ownvideo.js")) => Promise<void>} share */
  async open(share) {
    try {
      await share(await import("./ownvideo.js"));
    } catch (error) {
      this.onProblem(/** @type {Error} */ (error).message);
    }
  }

  /**
   * @param {MediaStream} stream
   * @param {string} from
   * @param {HTMLVideoElement | null} [player]
   */
  async share(stream, from, player = null) {
    this.release();
    this.stream = stream;
    this.from = from;
    this.player = player;
    const [track] = stream.getVideoTracks();
    track.contentHint = "motion";
    track.addEventListener("ended", () => this.stream === stream && this.stop());
    this.onChange({ stream, from });
    await this.publish();
  }

  /**
   * Claim the model's input, then let the frames flow on the line that was negotiated with the connection.
   */
  async publish() {
    const { connection, stream } = this;
    const sender = connection?.senders.get(this.trackName);
    if (!connection || !stream || !sender) return;
    const [track] = stream.getVideoTracks();
    try {
      await connection.request("publish_track", { name: this.trackName });
      await sender.replaceTrack(track);
    } catch (error) {
      this.stop();
      this.onProblem(`The model does not take your video now: ${/** @type {Error} */ (error).message}`);
    }
  }

  stop() {
    const sender = this.connection?.senders.get(this.trackName);
    sender?.replaceTrack(null).catch(() => {});
    this.connection?.notify("unpublish_track", this.trackName);
    this.release();
    this.onChange(null);
  }

  release() {
    this.stream?.getTracks().forEach((track) => track.stop());
    if (this.player) {
      this.player.pause();
      URL.revokeObjectURL(this.player.src);
    }
    this.stream = null;
    this.player = null;
    this.from = "";
  }
}
