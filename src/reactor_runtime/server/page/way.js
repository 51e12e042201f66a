/**
 * The way on which this page came is a way for its video as well, where it is plain TCP: the server speaks ICE over
 * TCP on its HTTP port. So whatever forwards the page (`ssh -L`, `docker -p`) carries the picture too, and the server
 * need not know under which address that is.
 */

/** UDP is better, and is there within this time wherever it gets through on a good line. */
export const UDP_FIRST_MS = 300;

/** RFC 8445 section 5.1.2.1, with the type preference that libwebrtc gives to host candidates over TCP. */
const PRIORITY = (90 << 24) + 255;

/**
 * @param {{protocol: string, hostname: string, port: string}} address of the page
 * @returns {RTCIceCandidateInit | null} null where the way is encrypted, which no ICE gets through
 */
export function wayOfThePage({ protocol, hostname, port }) {
  if (protocol !== "http:") return null;
  const host = hostname === "localhost" ? "127.0.0.1" : hostname.replace(/^\[|\]$/g, "");
  const text = `candidate:page 1 tcp ${PRIORITY} ${host} ${port || "80"} typ host tcptype passive`;
  return { candidate: text, sdpMLineIndex: 0 };
}

/** Why this browser cannot show pictures of a WebSocket, in words; "" where it can. */
export function whyNoSocket() {
  if (!isSecureContext) {
    return (
      "Over plain http a browser decodes video on localhost only: open this page with https, or through a tunnel " +
      "such as ssh -L 8080:localhost:8080, then at http://localhost:8080."
    );
  }
  return "VideoDecoder" in globalThis ? "" : "This browser has no WebCodecs; a newer one has.";
}
