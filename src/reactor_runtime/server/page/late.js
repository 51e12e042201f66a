/**
 * On a long line, have late pictures shown one by one: see catching-up.js. There a lost packet comes again after several
 * pictures, which then come together. It costs a hop through a worker for each picture, so a near server's go without.
 */

/** From here on a packet that is sent again is later than the next picture of thirty a second. */
export const FAR_MS = 25;

/** One for all connections of this page. */
let worker = /** @type {Worker | null} */ (null);

/**
 * Whether a server is far, by the quickest of its answers. Pure.
 * @param {{name: string, requestStart: number, responseStart: number}[]} answers
 */
export function isFar(answers) {
  const tripsMs = answers
    .filter(({ name, requestStart }) => requestStart > 0 && new URL(name).pathname.endsWith("/overview"))
    .map(({ requestStart, responseStart }) => responseStart - requestStart);
  return tripsMs.length > 0 && Math.min(...tripsMs) >= FAR_MS;
}

/**
 * Must be called before the first picture comes: Chromium looks for it then only.
 * @param {any} receiver an RTCRtpReceiver, with what only some browsers have
 */
export function showLateOnesToo(receiver) {
  if (!("RTCRtpScriptTransform" in globalThis)) return;
  const answers = /** @type {PerformanceResourceTiming[]} */ (performance.getEntriesByType("resource"));
  if (!isFar(answers)) return;
  worker ??= new Worker("catching-up.js", { type: "module" });
  receiver.transform = new /** @type {any} */ (globalThis).RTCRtpScriptTransform(worker);
}
