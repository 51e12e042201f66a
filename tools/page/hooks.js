/**
 * What tests and benchmarks hold on to: `window.reactorPage`, made of the parts that the page's `app.js`
 * exports. Runs in the page before its own modules; none of it is shipped.
 */

/** @typedef {typeof import("../../src/reactor_runtime/server/page/app.js")} App */

/**
 * Send a command and wait until it was answered; `shown` resolves when it was seen, and may stay pending.
 * @param {App} app
 */
function commander({ commands, sender }) {
  /** @type {Map<string, {receipt: (receipt: any) => void, shown: (delay: any) => void}>} */
  const awaited = new Map();
  const receive = commands.receipt.bind(commands);
  const show = commands.shown.bind(commands);
  commands.receipt = (receipt) => {
    receive(receipt);
    awaited.get(receipt.request_id)?.receipt(receipt);
  };
  commands.shown = (delay) => {
    show(delay);
    awaited.get(delay.requestId)?.shown(delay);
    awaited.delete(delay.requestId);
  };
  /**
   * @param {string} name
   * @param {Record<string, unknown>} [args]
   */
  return async (name, args = {}) => {
    /** @type {{receipt?: Promise<any>, shown?: Promise<any>}} */
    const promises = {};
    await sender.send(name, args, [], (id) => {
      /** @type {any} */
      const resolvers = {};
      promises.receipt = new Promise((resolve) => (resolvers.receipt = resolve));
      promises.shown = new Promise((resolve) => (resolvers.shown = resolve));
      awaited.set(id, resolvers);
    });
    return { receipt: await promises.receipt, shown: promises.shown };
  };
}

/** @param {App} app */
function hooks(app) {
  const { session, overlay, stage, tracker, breakdown } = app;
  let firstFrameMs = 0;
  stage.video.requestVideoFrameCallback((_now, { expectedDisplayTime }) => (firstFrameMs = expectedDisplayTime));
  return {
    get state() {
      return session.view.name;
    },
    get sessionId() {
      return session.descriptor?.session_id ?? null;
    },
    get stats() {
      return overlay.stats();
    },
    /** When the first picture was displayed, since the navigation began; 0 before. */
    get firstFrameMs() {
      return firstFrameMs;
    },
    /** Displayed frames, newest last: {rtp, displayMs, receivedMs, presented}. */
    get frames() {
      return stage.frames.frames;
    },
    get delays() {
      return [...tracker.delays];
    },
    /** Where the time of each command went that was seen: {totalMs, parts}, newest last. */
    get breakdowns() {
      return breakdown.commands.all;
    },
    get peer() {
      return session.connection?.peer ?? null;
    },
    sendCommand: commander(app),
    /** @type {(method: string, data: Record<string, unknown>) => Promise<object> | undefined} */
    ask: (method, data) => session.connection?.request(method, data),
    /** @type {(blob: Blob, name: string) => Promise<object>} */
    upload: (blob, name) => app.server.upload(session.descriptor?.session_id ?? "", blob, name),
    start: () => session.start(),
    stop: () => session.stop(),
  };
}

document.addEventListener("DOMContentLoaded", async () => {
  const script = document.querySelector("script[type='module'][src^='app.']");
  if (!(script instanceof HTMLScriptElement)) return; // some other page
  const app = await import(script.src);
  /** @type {any} */ (window).reactorPage = hooks(app);
});
