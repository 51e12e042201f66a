/**
 * Which rungs this very browser reaches, one after the other, and why not the others, in words.
 *
 * It joins the session that runs, or starts one, as the control page does, and leaves nothing behind.
 */

import { byId } from "./dom.js";
import { Server } from "./server.js";
import { wayOfThePage } from "./way.js";

const TRY_MS = 8_000;

/** @typedef {"udp" | "tcp"} Rung */

/**
 * The lines of an offer or answer that lead over one rung only. Pure.
 * @param {string} sdp
 * @param {Rung} rung
 */
export function only(sdp, rung) {
  const other = rung === "udp" ? "tcp" : "udp";
  return sdp.replace(new RegExp(`^a=candidate:\\S+ \\d+ ${other} [^\\n]*\\n`, "gim"), "");
}

/**
 * Why a rung was not reached. Pure.
 * @param {Rung} rung
 * @param {{protocol: string, host: string}} address of the page
 * @param {string} said what went wrong, where the server said it
 */
export function reason(rung, { protocol, host }, said) {
  if (said) return said;
  if (rung === "udp") {
    return (
      `No UDP packet came through between this browser and the server. A firewall or a tunnel that passes TCP only ` +
      `is the usual cause. It does no harm where the next rung works; UDP is better on lines that lose packets. ` +
      `The operator can name ports to open with --media-port, and with --public-address the address that you see.`
    );
  }
  if (protocol === "https:") {
    return `This page came over HTTPS. Whatever encrypts it in front of the server passes on HTTP only.`;
  }
  return (
    `${host} took the connection, or let it fail, and no packet of video came back: a proxy that passes on HTTP only ` +
    `is the usual cause. A plain forward of the port, such as ssh -L, would do. Browsers also dial no port below ` +
    `1024 but 80 and 443, and those not at private addresses.`
  );
}

/**
 * Connect over one rung, until a picture is there. Resolves to milliseconds.
 * @param {Server} server
 * @param {Rung} rung
 */
async function reach(server, rung) {
  const { health, running, iceServers } = await server.overview();
  if (!health.ok) throw new Error(`The server has no model to show: ${health.detail || health.state}.`);
  const joins = ["waiting", "streaming", "orphaned"].includes(running.state);
  const peer = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
  const abort = AbortSignal.timeout(TRY_MS);
  const beganMs = performance.now();
  let began;
  try {
    const track = (running.capabilities?.tracks ?? []).find(({ direction }) => direction === "recvonly");
    const transceiver = peer.addTransceiver("video", { direction: "recvonly" });
    peer.createDataChannel("data");
    await peer.setLocalDescription(await peer.createOffer());
    const mapping = track ? [{ mid: transceiver.mid, ...track }] : [];
    // A server that knows an address of ours by the other protocol finds us by it.
    const sdp = only(peer.localDescription?.sdp ?? "", rung);
    const sessionId = joins ? running.session_id : null;
    const { answer, descriptor } = await server.connect({ sessionId, sdp, mapping }, abort);
    if (!joins) began = descriptor.session_id;
    await peer.setRemoteDescription({ type: "answer", sdp: only(answer, rung) });
    const way = rung === "tcp" ? wayOfThePage(location) : null;
    if (way) await peer.addIceCandidate(way).catch(() => {});
    await new Promise((resolve, reject) => {
      abort.addEventListener("abort", () => reject(new Error("")));
      peer.addEventListener("connectionstatechange", () => {
        if (peer.connectionState === "connected") resolve(undefined);
        if (peer.connectionState === "failed") reject(new Error(""));
      });
    });
    return performance.now() - beganMs;
  } finally {
    peer.close();
    if (began) await server.stopSession(began).catch(() => {});
  }
}

/** @param {Server} server */
async function run(server) {
  /** @type {string[]} */
  const reached = [];
  for (const rung of /** @type {Rung[]} */ (["udp", "tcp"])) {
    const [name, text] = [document.createElement("dt"), document.createElement("dd")];
    name.textContent = rung;
    byId("rungs").append(name, text);
    try {
      text.textContent = `Connected after ${Math.round(await reach(server, rung))} ms.`;
      name.dataset.state = "ok";
      reached.push(rung);
    } catch (error) {
      const said = error instanceof DOMException ? "" : /** @type {Error} */ (error).message;
      text.textContent = reason(rung, location, said);
      name.dataset.state = "no";
    }
  }
  byId("summary").textContent =
    reached.length > 0 ? `The video comes by ${reached[0]}.` : "No way for the video was found.";
  document.body.dataset.done = reached.join(" ") || "none";
}

if (document.getElementById("rungs")) run(new Server());
