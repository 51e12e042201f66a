/**
 * One WebRTC connection: signalling, tracks, the two data channels, and the notice that it was lost.
 *
 *   offer ─▶ one request ─▶ answer ─▶ picture ─▶ channels          each arrow is at least one round trip
 *
 * The picture comes before the channels, which need three round trips more: what is said until then is kept and
 * sent once they are there. It lives from `open()` to `close()` and is never reused; coming back after a loss is a
 * new one. Callbacks:
 *   stream(mediaStream)   a track of the model arrived
 *   message(decoded)      a frame of the data channel, decoded
 *   lost(why)             the connection failed on its own; never after close()
 */

import { showLateOnesToo } from "./late.js";
import { Requests } from "./requests.js";
import { ServerError } from "./server.js";
import { UDP_FIRST_MS, wayOfThePage } from "./way.js";
import { decodeControl, decodeData, encodeNotification, encodeRuntime } from "./wire.js";

/**
 * How long an offer waits for the browser's own addresses, and for one more after another. They are there in milliseconds
 * where there are any; that there are no more a browser says much later.
 */
const GATHER_MS = 40;
const QUIET_MS = 5;
const CANDIDATE_BATCH_MS = 25;
/** What is said before a channel is open. More: the oldest are dropped. */
const EARLY_MAX = 64;
const PING_MS = 5_000;
/** ICE often recovers from `disconnected` on its own; after this long it is taken for a loss. */
const RECOVER_MS = 3_000;
const CONNECT_MS = 15_000;
/** While it connects: how often to ask whether the session still runs. */
const RUNS_POLL_MS = 1_000;

/**
 * @typedef {import("./server.js").Descriptor} Descriptor
 */

export class Connection {
  /**
   * @param {import("./server.js").Server} server
   * @param {{capabilities?: Descriptor["capabilities"], iceServers: RTCIceServer[]}} known before the session is
   * @param {{stream: (stream: MediaStream) => void, lost: (why: string) => void,
   *   message: (message: import("./wire.js").Said | null) => void}} callbacks
   * @param {string | null} [rung] "udp" or "tcp": nothing else
   */
  constructor(server, { capabilities, iceServers }, callbacks, rung = null) {
    this.server = server;
    this.rung = rung;
    this.tracks = capabilities?.tracks ?? [];
    this.iceServers = iceServers;
    this.callbacks = callbacks;
    this.peer = /** @type {RTCPeerConnection | null} */ (null);
    this.data = /** @type {RTCDataChannel | null} */ (null);
    this.control = /** @type {RTCDataChannel | null} */ (null);
    /** What is lost here is not sent again: a beat that waits for another is late. */
    this.beats = /** @type {RTCDataChannel | null} */ (null);
    this.stream = new MediaStream();
    /** @type {Map<string, RTCRtpSender>} Where our video leaves, by the track's name. */
    this.senders = new Map();
    this.requests = new Requests((text) => this.say(this.control, text));
    this.abort = new AbortController();
    this.closed = false;
    this.opened = false;
    /** @type {Map<string, string[]>} What waits for a channel to open, by its label. */
    this.early = new Map();
    /** @type {Set<ReturnType<typeof setTimeout>>} */
    this.timers = new Set();
  }

  /**
   * Offer, and take the answer: join a session, or start one. Rejects with words.
   * @param {string | null} sessionId
   * @param {{withinMs?: number}} [how]
   * @returns {Promise<{descriptor: Descriptor, ready: Promise<void>}>} `ready`: the channels are open
   */
  async open(sessionId, { withinMs = CONNECT_MS } = {}) {
    const peer = new RTCPeerConnection({ iceServers: this.iceServers, bundlePolicy: "max-bundle" });
    this.peer = peer;
    const mapped = this.addTracks(peer);
    const data = this.channel(peer, "data", (text) => this.callbacks.message(decodeData(text)));
    const control = this.channel(peer, "control", (text) => this.requests.settle(decodeControl(text)));
    this.data = data;
    this.control = control;
    this.beats = peer.createDataChannel("beats", { ordered: false, maxRetransmits: 0 });
    const trickle = this.trickle(peer);

    await peer.setLocalDescription(await peer.createOffer());
    await this.gathered(peer);
    const mapping = mapped.map(({ transceiver, track }) => ({ mid: transceiver.mid, ...track }));
    // A server that knows an address of ours by the other protocol finds us by it.
    const sdp = only(this.rung, peer.localDescription?.sdp ?? "");
    trickle.forget();
    const made = await this.server.connect({ sessionId, sdp, mapping }, this.abort.signal);
    const { descriptor, connectionId, answer } = made;
    const opened = this.ready(peer, data, control, withinMs);
    opened.catch(() => {}); // awaited below, but it may fail before
    trickle.start(descriptor.session_id, connectionId);
    await peer.setRemoteDescription({ type: "answer", sdp: only(this.rung, answer) });
    this.timers.add(setTimeout(() => this.tryWayOfThePage(peer), UDP_FIRST_MS));
    this.timers.add(setInterval(() => this.ping(), PING_MS));
    return { descriptor, ready: Promise.race([opened, this.whileItRuns(descriptor.session_id)]) };
  }

  /**
   * Put text on the data channel; false when it cannot be sent now.
   * @param {string} text
   */
  send(text) {
    return this.say(this.data, text);
  }

  /**
   * @param {RTCDataChannel | null} channel
   * @param {string} text
   */
  say(channel, text) {
    if (channel?.readyState === "open") channel.send(text);
    else if (channel?.readyState === "connecting" && !this.closed) {
      const early = this.early.get(channel.label) ?? [];
      this.early.set(channel.label, [...early, text].slice(-EARLY_MAX));
    } else return false;
    return true;
  }

  beat() {
    if (this.beats?.readyState === "open") this.beats.send("");
    else this.send(encodeRuntime("beat"));
  }

  ping() {
    if (this.opened) this.send(encodeRuntime("ping"));
  }

  /**
   * Ask on the control channel and wait for the answer; rejects with the server's words.
   * @param {string} method
   * @param {Record<string, unknown>} data
   * @returns {Promise<Record<string, any>>}
   */
  request(method, data) {
    return this.requests.ask(method, data);
  }

  /**
   * @param {string} event
   * @param {string} name
   */
  notify(event, name) {
    this.say(this.control, encodeNotification(event, { name }));
  }

  /** Ask for pictures that need none of those before, which a browser by itself may do only after seconds. */
  renewPicture() {
    for (const event of ["pause_track", "resume_track"])
      for (const { name, direction } of this.tracks)
        if (direction === "recvonly") this.notify(event, name);
  }

  /** Close for good. May be called twice. */
  close() {
    if (this.closed) return;
    this.closed = true;
    this.abort.abort();
    for (const timer of this.timers) clearTimeout(timer);
    this.requests.close();
    this.peer?.close();
  }

  /** @param {RTCPeerConnection} peer */
  addTracks(peer) {
    return this.tracks.map(({ name, kind, direction }) => {
      const transceiver = peer.addTransceiver(kind, { direction });
      if (direction === "sendonly") this.senders.set(name, transceiver.sender);
      else {
        showAtOnce(transceiver.receiver);
        if (kind === "video") showLateOnesToo(transceiver.receiver);
      }
      return { transceiver, track: { name, kind, direction } };
    });
  }

  /**
   * @param {RTCPeerConnection} peer
   * @param {string} label
   * @param {(text: unknown) => void} receive
   */
  channel(peer, label, receive) {
    const channel = peer.createDataChannel(label, { ordered: true });
    channel.onmessage = ({ data }) => receive(data);
    channel.onclose = () => this.lose("the server closed the connection");
    return channel;
  }

  /**
   * Wait until the peer is connected and both channels are open.
   * @param {RTCPeerConnection} peer
   * @param {RTCDataChannel} data
   * @param {RTCDataChannel} control
   * @param {number} withinMs
   * @returns {Promise<void>}
   */
  ready(peer, data, control, withinMs) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () =>
          reject(
            new Error(
              "The video connection could not be made. A firewall may block it, or the server has no address that this browser can reach.",
            ),
          ),
        withinMs,
      );
      this.timers.add(timer);
      const check = () => {
        if (this.opened || data.readyState !== "open" || control.readyState !== "open") return;
        this.opened = true;
        clearTimeout(timer);
        for (const channel of [data, control]) {
          for (const text of this.early.get(channel.label) ?? []) channel.send(text);
        }
        this.early.clear();
        this.ping(); // whoever has said nothing is not spoken to: the server does not know yet in which format
        resolve();
      };
      data.onopen = check;
      control.onopen = check;
      peer.ontrack = ({ track }) => {
        this.stream.addTrack(track);
        this.callbacks.stream(this.stream);
      };
      peer.onconnectionstatechange = () => {
        const state = peer.connectionState;
        if (state === "failed") {
          if (!this.opened)
            reject(new Error("The video connection could not be made. A firewall may block it."));
          this.lose("the network connection failed");
        } else if (state === "disconnected") {
          this.timers.add(
            setTimeout(
              () =>
                peer.connectionState === "disconnected" &&
                this.lose("the network connection was interrupted"),
              RECOVER_MS,
            ),
          );
        }
      };
    });
  }

  /** @param {RTCPeerConnection} peer */
  tryWayOfThePage(peer) {
    const way = this.rung === "udp" ? null : wayOfThePage(location);
    // A browser that does not take it has the other ways left.
    if (!this.opened && way) peer.addIceCandidate(way).catch(() => {});
  }

  /**
   * Reject when the session is over before a connection is there. Nobody answers it any more, and that is no
   * firewall's doing.
   * @param {string} sessionId
   */
  async whileItRuns(sessionId) {
    while (!this.opened) {
      await new Promise((done) => this.timers.add(setTimeout(done, RUNS_POLL_MS)));
      if (!this.opened && (await this.server.isOver(sessionId))) {
        throw new ServerError("The session is over.", { status: 404 });
      }
    }
  }

  /**
   * Wait a moment for this browser's own addresses, so that they go with the offer.
   * @param {RTCPeerConnection} peer
   * @returns {Promise<void>}
   */
  gathered(peer) {
    return new Promise((resolve) => {
      this.timers.add(setTimeout(resolve, GATHER_MS));
      /** @type {ReturnType<typeof setTimeout> | undefined} */
      let quiet;
      peer.addEventListener("icecandidate", ({ candidate }) => {
        clearTimeout(quiet);
        if (candidate === null) resolve();
        else this.timers.add((quiet = setTimeout(resolve, QUIET_MS)));
      });
    });
  }

  /**
   * Collect the candidates that came too late for the offer, and post them in batches once there is a connection
   * that they belong to; the last batch is marked.
   * @param {RTCPeerConnection} peer
   */
  trickle(peer) {
    /** @type {object[]} */
    let batch = [];
    let final = false;
    /** @type {[string, number] | null} The session and the connection. */
    let where = null;
    /** @type {ReturnType<typeof setTimeout> | null} */
    let timer = null;
    const post = () => {
      timer = null;
      if (this.closed || !where || (batch.length === 0 && !final)) return;
      const [candidates, isFinal] = [batch, final];
      batch = [];
      final = false;
      // A lost batch is not an error: the answer carries the server's own candidates.
      this.server.candidates(...where, candidates, isFinal).catch(() => {});
    };
    const plan = () => {
      if (where && timer === null) timer = setTimeout(post, CANDIDATE_BATCH_MS);
    };
    peer.onicecandidate = ({ candidate }) => {
      if (candidate?.candidate) {
        if (this.rung && candidate.protocol !== this.rung) return;
        batch.push({
          candidate: candidate.candidate,
          sdp_mid: candidate.sdpMid ?? undefined,
          sdp_mline_index: candidate.sdpMLineIndex ?? undefined,
        });
      } else if (candidate === null) {
        final = true;
      }
      plan();
    };
    return {
      /** What came so far is in the offer. */
      forget: () => {
        batch = [];
      },
      /**
       * @param {string} sessionId
       * @param {number} connectionId
       */
      start: (sessionId, connectionId) => {
        where = [sessionId, connectionId];
        if (batch.length > 0) plan();
      },
    };
  }

  /** @param {string} why */
  lose(why) {
    if (this.closed || !this.opened) return;
    this.close();
    this.callbacks.lost(why);
  }
}

/**
 * Leave in an offer or answer those candidates only that are of one protocol; all where none is asked for.
 * @param {string | null} rung
 * @param {string} sdp
 */
function only(rung, sdp) {
  if (!rung) return sdp;
  const lines = sdp.split("\r\n");
  const kept = lines.filter((line) => !line.startsWith("a=candidate:") || line.split(" ")[2].toLowerCase() === rung);
  return kept.join("\r\n");
}

/**
 * Ask the browser to show each frame as soon as it is decoded, instead of smoothing the network's jitter.
 * @param {any} receiver an RTCRtpReceiver, with what only some browsers have
 */
function showAtOnce(receiver) {
  if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
  else if ("playoutDelayHint" in receiver) receiver.playoutDelayHint = 0;
}
