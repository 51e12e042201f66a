/** Sending pictures to the model: the camera, or a video file that plays in a loop. */

const CAMERA = {
  width: { ideal: 640 },
  height: { ideal: 480 },
  frameRate: { ideal: 30 },
  facingMode: "user",
};

/** @type {Record<string, string>} */
const CAMERA_ERRORS = {
  NotAllowedError: "The browser may not use the camera. Allow it in the address bar, then try again.",
  NotFoundError: "No camera was found. You can send a video file instead.",
  NotReadableError: "The camera is in use by another program.",
  OverconstrainedError: "This camera cannot deliver a suitable picture.",
};

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

  async shareCamera() {
    if (!navigator.mediaDevices?.getUserMedia) {
      this.onProblem(
        "The camera works on https and on localhost only. Open this page there, for instance through an SSH tunnel.",
      );
      return;
    }
    try {
      const { uprightStream } = await import("./upright.js");
      const camera = await navigator.mediaDevices.getUserMedia({ video: CAMERA });
      await this.share(await uprightStream(camera), "camera");
    } catch (caught) {
      const error = /** @type {Error} */ (caught);
      this.onProblem(CAMERA_ERRORS[error.name] ?? `The camera could not be opened: ${error.message}`);
    }
  }

  /** @param {File} file */
  async shareFile(file) {
    const player = document.createElement("video");
    Object.assign(player, { muted: true, loop: true, playsInline: true, src: URL.createObjectURL(file) });
    try {
      await player.play();
      const { filmStream } = await import("./upright.js");
      await this.share(await filmStream(player), "file", player);
    } catch (error) {
      URL.revokeObjectURL(player.src);
      this.onProblem(`This video cannot be played: ${/** @type {Error} */ (error).message}.`);
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
