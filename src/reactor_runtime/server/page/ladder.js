/**
 * By which rung this page is reached: WebRTC, over UDP or TCP as ICE finds out by itself, and where that is not there in
 * time, one WebSocket. Only a failure of the transport costs a rung: a session that is over, or a server that refuses,
 * says so at once.
 *
 * The rung that was needed is remembered for this address; `?link=udp`, `tcp` or `websocket` in it forces one.
 */

import { Connection } from "./connection.js";
import { Cancelled } from "./rounds.js";
import { ServerError } from "./server.js";
import { whyNoSocket } from "./way.js";

/** @typedef {import("./server.js").Descriptor} Descriptor */

/** From its answer on, WebRTC has this long to be connected. */
const WEBRTC_MS = 2_500;
const LOOK_MS = 50;
/** How long a WebSocket is tried first at an address where WebRTC did not get through. */
const REMEMBERED_MS = 12 * 3_600_000;

/** WebRTC did not get through. */
class NoWebRtc extends Error {}

export class Ladder {
  /** @param {Location} address */
  constructor(address) {
    this.forced = new URL(address.href).searchParams.get("link");
    /** Whether WebRTC has got through to this page. */
    this.passed = false;
    this.key = `reactor.link ${address.origin}${address.pathname}`;
  }

  /** Whether to begin with the WebSocket. */
  get socketFirst() {
    if (this.forced) return this.forced === "websocket";
    return !whyNoSocket() && Date.now() - Number(stored(this.key)) < REMEMBERED_MS;
  }

  /**
   * Connect by the first rung that holds. `hold` is told each connection that is tried.
   * @param {import("./server.js").Server} server
   * @param {{capabilities?: Descriptor["capabilities"], iceServers: RTCIceServer[]}} known
   * @param {ConstructorParameters<typeof Connection>[2]} callbacks
   * @param {{sessionId: string | null, how?: {withinMs?: number}, hold: (connection: Connection) => void,
   *   answered: (descriptor: Descriptor) => void}} how
   */
  async climb(server, known, callbacks, { sessionId, how, hold, answered }) {
    let joined = sessionId;
    /** @param {Connection} connection */
    const open = async (connection) => {
      hold(connection);
      const { descriptor, ready } = await connection.open(joined, how);
      joined = descriptor.session_id;
      ready.catch(() => {}); // awaited later, but it may fail before
      answered(descriptor);
      return { ready };
    };
    /** @type {Error | null} */
    let failed = null;
    const why = whyNoSocket();
    if (!this.socketFirst) {
      const connection = new Connection(server, known, callbacks, this.forced);
      try {
        // Where there is no other rung, this one has all the time it needs.
        const opening = open(connection);
        await (await (this.forced || why ? opening : within(connection, opening))).ready;
        this.passed = true;
        return;
      } catch (error) {
        connection.close();
        if (!isTransport(error) || this.forced) throw error;
        failed = /** @type {Error} */ (error);
      }
    }
    if (why) throw new Error(failed ? `${failed.message} ${why}` : why);
    // Most never need it.
    const { SocketConnection } = await import("./socketconnection.js");
    const socket = /** @type {any} */ (new SocketConnection(server, known, callbacks));
    try {
      await (await open(socket)).ready;
    } catch (error) {
      socket.close();
      if (!failed || !isTransport(error)) throw error;
      throw new Error(`${failed.message} ${/** @type {Error} */ (error).message}`, { cause: error });
    }
    // Where WebRTC got through before, it does so again.
    if (failed && !this.passed) store(this.key, String(Date.now()));
  }
}

/**
 * Wait for WebRTC as long as it may take.
 * @param {Connection} connection
 * @param {Promise<{ready: Promise<void>}>} opening
 */
async function within(connection, opening) {
  const opened = await opening.catch((error) => {
    // A browser without WebRTC, or with it switched off.
    throw error instanceof ReferenceError || error instanceof DOMException ? new NoWebRtc(error.message) : error;
  });
  const untilMs = performance.now() + WEBRTC_MS;
  while (connection.peer?.connectionState !== "connected" && !connection.closed) {
    const settled = await Promise.race([
      opened.ready.then(() => true),
      new Promise((done) => setTimeout(() => done(false), LOOK_MS)),
    ]);
    if (settled) break;
    if (performance.now() > untilMs) {
      throw new NoWebRtc("The video connection could not be made: a firewall may block it.");
    }
  }
  return opened;
}

/** @param {unknown} error */
const isTransport = (error) =>
  error instanceof Error && !(error instanceof ServerError) && !(error instanceof Cancelled);

/** @param {string} key */
function stored(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

/**
 * @param {string} key
 * @param {string} value
 */
function store(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // In some privacy modes nothing is remembered.
  }
}
