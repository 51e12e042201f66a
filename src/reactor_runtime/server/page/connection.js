/**
 * One WebRTC connection: signalling, tracks, the two data channels, and the notice that it was lost.
 *
 * It lives from `open()` to `close()` and is never reused; coming back after a loss is a new one. Callbacks:
 *   stream(mediaStream)   a track of the model arrived
 *   message(decoded)      a frame of the data channel, decoded
 *   lost(why)             the connection failed on its own; never after close()
 */

import { isOver } from "./server.js";
import { decodeControl, decodeData, encodeNotification, encodeRequest, encodeRuntime } from "./wire.js";

const CANDIDATE_BATCH_MS = 25;
const PING_MS = 5_000;
/** ICE often recovers from `disconnected` on its own; after this long it is taken for a loss. */
const RECOVER_MS = 3_000;
const CONNECT_MS = 15_000;
/** While it connects: how often to ask whether the session still runs. */
const RUNS_POLL_MS = 1_000;
const REQUEST_MS = 10_000;

/**
 * @typedef {import("./server.js").Descriptor} Descriptor
 * @typedef {{resolve: (data: any) => void, reject: (error: Error) => void,
 *   timer: ReturnType<typeof setTimeout>}} Asked
 */

export class Connection {
  /**
   * @param {import("./server.js").Server} server
   * @param {Descriptor} session
   * @param {{stream: (stream: MediaStream) => void, lost: (why: string) => void,
   *   message: (message: import("./wire.js").Said | null) => void}} callbacks
   */
  constructor(server, session, callbacks) {
    this.server = server;
    this.session = session;
    this.callbacks = callbacks;
    this.peer = /** @type {RTCPeerConnection | null} */ (null);
    this.data = /** @type {RTCDataChannel | null} */ (null);
    this.control = /** @type {RTCDataChannel | null} */ (null);
    this.stream = new MediaStream();
    /** @type {Map<string, RTCRtpSender>} Where our video leaves, by the track's name. */
    this.senders = new Map();
    /** @type {Map<string, Asked>} */
    this.requests = new Map();
    this.requestCount = 0;
    this.abort = new AbortController();
    this.closed = false;
    this.opened = false;
    /** @type {Set<ReturnType<typeof setTimeout>>} */
    this.timers = new Set();
  }

  /**
   * Negotiate. Resolves when messages can be sent; rejects with words. `again` comes back to a running
   * session.
   */
  async open({ again = false } = {}) {
    const sessionId = this.session.session_id;
    const [iceServers, connectionId] = await Promise.all([
      this.server.iceServers(sessionId),
      this.server.register(sessionId),
    ]);
    if (this.closed) throw new Error("closed");
    const peer = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.peer = peer;
    const tracks = this.addTracks(peer);
    const data = this.channel(peer, "data", (text) => this.callbacks.message(decodeData(text)));
    const control = this.channel(peer, "control", (text) => this.settle(decodeControl(text)));
    this.data = data;
    this.control = control;
    const ready = this.ready(peer, data, control);
    ready.catch(() => {}); // awaited below, but it may fail while signalling is still under way
    const trickle = this.trickle(peer, sessionId, connectionId);

    const offer = await peer.createOffer();
    await peer.setLocalDescription(offer);
    const mapping = tracks.map(({ transceiver, track }) => ({ mid: transceiver.mid, ...track }));
    const sdp = peer.localDescription?.sdp ?? offer.sdp ?? "";
    await this.server.offer(sessionId, connectionId, { sdp, mapping, again });
    trickle.start();
    const answer = await this.server.answer(sessionId, connectionId, { signal: this.abort.signal });
    await peer.setRemoteDescription({ type: "answer", sdp: answer });
    await Promise.race([ready, this.whileItRuns(sessionId)]);
    this.timers.add(setInterval(() => this.ping(), PING_MS));
  }

  /**
   * Put text on the data channel; false when it cannot be sent now.
   * @param {string} text
   */
  send(text) {
    if (this.data?.readyState !== "open") return false;
    this.data.send(text);
    return true;
  }

  ping() {
    this.send(encodeRuntime("ping"));
  }

  /**
   * Ask on the control channel and wait for the answer; rejects with the server's words.
   * @param {string} method
   * @param {Record<string, unknown>} data
   * @returns {Promise<Record<string, any>>}
   */
  request(method, data) {
    this.requestCount += 1;
    const requestId = `ctrl_${this.requestCount}`;
    return new Promise((resolve, reject) => {
      if (this.control?.readyState !== "open") {
        reject(new Error("There is no connection to the model."));
        return;
      }
      const timer = setTimeout(
        () => this.settle({ requestId, error: { message: "The server did not answer." } }),
        REQUEST_MS,
      );
      this.requests.set(requestId, { resolve, reject, timer });
      this.control.send(encodeRequest(method, requestId, data));
    });
  }

  /**
   * @param {string} event
   * @param {string} name
   */
  notify(event, name) {
    if (this.control?.readyState === "open") this.control.send(encodeNotification(event, { name }));
  }

  /** Close for good. May be called twice. */
  close() {
    if (this.closed) return;
    this.closed = true;
    this.abort.abort();
    for (const timer of this.timers) clearTimeout(timer);
    for (const { reject, timer } of this.requests.values()) {
      clearTimeout(timer);
      reject(new Error("The connection was closed."));
    }
    this.requests.clear();
    this.peer?.close();
  }

  /** @param {RTCPeerConnection} peer */
  addTracks(peer) {
    const tracks = this.session.capabilities?.tracks ?? [];
    return tracks.map(({ name, kind, direction }) => {
      const transceiver = peer.addTransceiver(kind, { direction });
      if (direction === "sendonly") this.senders.set(name, transceiver.sender);
      else showAtOnce(transceiver.receiver);
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
   * @returns {Promise<void>}
   */
  ready(peer, data, control) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () =>
          reject(
            new Error(
              "The video connection could not be made. A firewall may block it, or the server has no address that this browser can reach.",
            ),
          ),
        CONNECT_MS,
      );
      this.timers.add(timer);
      const check = () => {
        if (this.opened || data.readyState !== "open" || control.readyState !== "open") return;
        this.opened = true;
        clearTimeout(timer);
        for (const { name, direction } of this.session.capabilities?.tracks ?? []) {
          if (direction === "recvonly") this.notify("resume_track", name);
        }
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

  /**
   * Reject when the session is over before a connection is there. Nobody answers it any more, and that is no
   * firewall's doing.
   * @param {string} sessionId
   */
  async whileItRuns(sessionId) {
    while (!this.opened) {
      await new Promise((done) => this.timers.add(setTimeout(done, RUNS_POLL_MS)));
      try {
        await this.server.iceServers(sessionId);
      } catch (error) {
        if (isOver(error)) throw error;
      }
    }
  }

  /**
   * Collect candidates and post them in batches once the offer is there; the last batch is marked.
   * @param {RTCPeerConnection} peer
   * @param {string} sessionId
   * @param {number} connectionId
   */
  trickle(peer, sessionId, connectionId) {
    /** @type {object[]} */
    let batch = [];
    let final = false;
    let started = false;
    /** @type {ReturnType<typeof setTimeout> | null} */
    let timer = null;
    const post = () => {
      timer = null;
      if (this.closed || (batch.length === 0 && !final)) return;
      const [candidates, isFinal] = [batch, final];
      batch = [];
      final = false;
      // A lost batch is not an error: the answer carries the server's own candidates.
      this.server.candidates(sessionId, connectionId, candidates, isFinal).catch(() => {});
    };
    const plan = () => {
      if (started && timer === null) timer = setTimeout(post, CANDIDATE_BATCH_MS);
    };
    peer.onicecandidate = ({ candidate }) => {
      if (candidate?.candidate) {
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
      start: () => {
        started = true;
        plan();
      },
    };
  }

  /** @param {{requestId: string, data?: any, error: {message: string} | null} | null} response */
  settle(response) {
    const waiting = response && this.requests.get(response.requestId);
    if (!response || !waiting) return;
    this.requests.delete(response.requestId);
    clearTimeout(waiting.timer);
    if (response.error) waiting.reject(new Error(response.error.message));
    else waiting.resolve(response.data);
  }

  /** @param {string} why */
  lose(why) {
    if (this.closed || !this.opened) return;
    this.close();
    this.callbacks.lost(why);
  }
}

/**
 * Ask the browser to show each frame as soon as it is decoded, instead of smoothing the network's jitter.
 * @param {any} receiver an RTCRtpReceiver, with what only some browsers have
 */
function showAtOnce(receiver) {
  if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
  else if ("playoutDelayHint" in receiver) receiver.playoutDelayHint = 0;
}
