/**
 * The page: puts the parts together and hands tests and benchmarks `window.reactorPage`.
 *
 *   server ── session ── connection        who is connected, and what is said
 *   stage ── latency ── overlay            what is displayed, and how late
 *   commands ── controls, keypad, picture  what people can change
 */

import { Commands } from "./commands.js";
import { byId, el } from "./dom.js";
import { DelayTracker } from "./latency.js";
import { Log, Notices } from "./notices.js";
import { Overlay } from "./overlay.js";
import { Recording } from "./recording.js";
import { readSchema } from "./schema.js";
import { Server } from "./server.js";
import { ENDINGS, Session } from "./session.js";
import { Sheet } from "./sheet.js";
import { Shortcuts } from "./shortcuts.js";
import { Stage } from "./stage.js";
import { Webcam } from "./webcam.js";
import { encodeCommand, encodeRuntime, MESSAGE_MAX_BYTES, sizeBytes } from "./wire.js";

/** A live picture that does not change for this long is worth a word. */
const STALLED_MS = 3_000;
/** How much of the past the clip button saves. */
const CLIP_S = 10;

const server = new Server();
const notices = new Notices(byId("notices"));
const log = new Log(byId("log"), byId("messages"));
const stage = new Stage({ root: byId("stage"), video: byId("video"), glow: byId("glow"), onFrame });
const tracker = new DelayTracker(stage.frames, onDelay);
const overlay = new Overlay(byId("overlay"), { frames: stage.frames, delays: tracker.delays });
const sheet = new Sheet(byId("panel"), byId("sheet-handle"));
const commands = new Commands(byId("commands"), { send, announce });
const session = new Session(server, {
  onView,
  onSchema,
  onStream: (stream) => stage.show(stream),
  onMessage,
  onConnected,
  onLost,
});
const recording = new Recording(server, {
  send: (text) => session.connection?.send(text) ?? false,
  onFilm: (film) => save(film, "mp4", "Film saved."),
  onChange: onRecording,
  onProblem: (text) => notices.show(text, "problem"),
});
/** Commands whose answer somebody waits for: request id → {receipt, shown} resolvers. */
const awaited = new Map();
let requestCount = 0;
let webcam = null;
let modelName = "";

// Commands ---------------------------------------------------------------------------------------------

/** Send a command; resolves to its request id. `onId` is told the id before anything can answer it. */
async function send(name, args, uploads = [], onId = () => {}) {
  const references = {};
  for (const { upload, holder, key, path } of uploads) {
    const reference = await server.upload(session.descriptor.session_id, upload.blob, upload.name);
    session.connection?.send(encodeRuntime("fileUploaded", reference));
    if (path === key) {
      references[key] = reference;
      delete holder[key];
    } else {
      holder[key] = reference;
    }
  }
  requestCount += 1;
  const requestId = `page_${requestCount}`;
  const text = encodeCommand(name, args, { requestId, uploads: references });
  const bytes = sizeBytes(text);
  if (bytes > MESSAGE_MAX_BYTES) {
    throw new Error(
      `This is too large to send: ${Math.ceil(bytes / 1024)} KiB, and ${MESSAGE_MAX_BYTES / 1024} KiB fit.`,
    );
  }
  onId(requestId);
  tracker.sent(requestId, name, performance.now());
  if (!session.connection?.send(text)) {
    tracker.drop(requestId);
    throw new Error("There is no connection to the model.");
  }
  return requestId;
}

/**
 * For tests: send a command and wait until it was answered and until it was seen (`shown` may stay pending).
 */
async function sendCommand(name, args = {}) {
  const promises = {};
  await send(name, args, [], (id) => {
    const resolvers = {};
    promises.receipt = new Promise((resolve) => (resolvers.receipt = resolve));
    promises.shown = new Promise((resolve) => (resolvers.shown = resolve));
    awaited.set(id, resolvers);
  });
  const receipt = await promises.receipt;
  return { receipt, shown: promises.shown };
}

function onDelay(delay) {
  commands.shown(delay);
  awaited.get(delay.requestId)?.shown(delay);
  awaited.delete(delay.requestId);
}

function onReceipt(receipt) {
  if (!receipt.accepted) tracker.drop(receipt.request_id);
  commands.receipt(receipt);
  awaited.get(receipt.request_id)?.receipt(receipt);
  if (!receipt.accepted) awaited.delete(receipt.request_id);
}

// What the server says ------------------------------------------------------------------------------------

const RUNTIME = {
  commandReceipt: onReceipt,
  commandShown: ({ request_id: requestId, rtp_timestamp: rtp }) =>
    tracker.shown(requestId, rtp ?? null, performance.now()),
  stats: (values) => overlay.setServer(values),
  // What ends the session is told by the cover.
  notice: ({ message, code }) => {
    if (String(code).startsWith("recording_")) offerRecording(false);
    if (!(code in ENDINGS)) notices.show(capital(String(message ?? code ?? "")), "problem");
  },
  clipReady: (clip) => recording.answered(clip),
  clipFailed: ({ reason }) => recording.answered(null, String(reason ?? "")),
  moderation: ({ message, action }) =>
    notices.show(
      String(
        message ||
          (action === "terminate"
            ? "The session was ended by a moderator."
            : "A moderator asks you to change your input."),
      ),
      "problem",
    ),
  sessionEnded: ({ reason }) => session.ended(String(reason ?? "")),
};

function onMessage({ scope, type, data }) {
  if (scope === "application") log.add(type, data);
  else RUNTIME[type]?.(data);
}

function onFrame(frame) {
  tracker.frame(frame);
  session.firstFrame();
}

// The session's states -----------------------------------------------------------------------------------

function onConnected(connection) {
  tracker.clear();
  notices.clear();
  overlay.watch(connection);
  commands.setConnected(true);
  offerRecording(session.descriptor?.recording?.enabled === true);
  webcam?.attach(connection);
  // A model that shows one picture and then waits may have shown it already.
  if (stage.frames.frames.length > 0) session.firstFrame();
}

function onLost() {
  tracker.clear();
  overlay.watch(null);
  commands.setConnected(false);
  recording.lost();
  webcam?.detach();
  awaited.clear();
}

function onSchema(openapi) {
  const schema = readSchema(openapi);
  modelName = schema.title;
  byId("model-name").textContent = schema.title || "Model";
  byId("model-version").textContent = schema.version;
  byId("model-about").textContent = schema.description;
  byId("model-about").hidden = !schema.description;
  commands.render(schema.commands);
  commands.setConnected(false);
  shortcuts.setModelKeys(commands.keypads);
  const input = schema.tracks.find((track) => track.kind === "video" && track.direction === "in");
  for (const id of ["camera", "video-file"]) byId(id).hidden = !input;
  byId("sound").hidden = !schema.tracks.some((track) => track.kind === "audio" && track.direction === "out");
  if (input)
    webcam = new Webcam({
      trackName: input.name,
      onChange: onSharing,
      onProblem: (text) => notices.show(text, "problem"),
    });
}

function onView(view) {
  document.body.dataset.state = view.name;
  document.title = [modelName, view.title.toLowerCase()].filter(Boolean).join(" · ");
  byId("state").textContent = view.title;
  byId("cover-title").textContent = view.title;
  byId("cover-detail").textContent = view.detail;
  byId("cover").hidden = view.name === "live";
  byId("progress").hidden = !view.busy;
  byId("token-form").hidden = view.name !== "locked";
  byId("cover-start").hidden = !view.canStart;
  byId("cover-start-text").textContent =
    view.name === "reconnecting" || view.name === "gone" ? "Try now" : "Start";
  byId("start").hidden = !view.canStart || view.canStop;
  byId("stop").hidden = !view.canStop;
  byId("stop-text").textContent = session.creator ? "Stop" : "Leave";
  for (const id of ["capture", "clip", "record"]) byId(id).disabled = view.name !== "live";
  byId("session-log").hidden = session.log === null;
  // A countdown is seen and not read out every second.
  announce(
    view.name === "reconnecting" || view.name === "gone" ? view.title : `${view.title}. ${view.detail}`,
  );
  if (view.name === "locked") byId("token").focus();
  // Nobody is filmed for a session that is over.
  if (["ended", "failed", "locked"].includes(view.name) && webcam?.sharing) webcam.stop();
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

let announced = "";
function announce(text) {
  if (text === announced) return;
  announced = text;
  byId("announce").textContent = text;
}

/** A live picture that stands still is said so, quietly. */
setInterval(() => {
  if (session.view.name !== "live" || document.hidden) return;
  const last = stage.frames.frames.at(-1);
  const stillMs = last ? performance.now() - last.displayMs : 0;
  document.body.dataset.stalled = String(stillMs > STALLED_MS);
  byId("state").textContent =
    stillMs > STALLED_MS ? `Live, no new picture for ${Math.floor(stillMs / 1000)} s` : "Live";
}, 1000);

// Input to the model ---------------------------------------------------------------------------------------

function onSharing(sharing) {
  const preview = byId("preview");
  preview.hidden = sharing === null;
  byId("preview-video").srcObject = sharing?.stream ?? null;
  preview.classList.toggle("mirror", sharing?.from === "camera");
  byId("preview-label").textContent =
    sharing?.from === "file" ? "Your video goes to the model" : "Your camera goes to the model";
  byId("camera").setAttribute("aria-pressed", String(sharing?.from === "camera"));
  byId("video-file").setAttribute("aria-pressed", String(sharing?.from === "file"));
  announce(sharing === null ? "Your video is no longer shared." : byId("preview-label").textContent);
}

byId("camera").addEventListener("click", () =>
  webcam.sharing && webcam.from === "camera" ? webcam.stop() : webcam.shareCamera(),
);
byId("video-file").addEventListener("click", () =>
  webcam.sharing && webcam.from === "file" ? webcam.stop() : byId("video-file-input").click(),
);
byId("preview-stop").addEventListener("click", () => webcam.stop());
byId("video-file-input").addEventListener("change", ({ target }) => {
  if (target.files[0]) webcam.shareFile(target.files[0]);
  target.value = "";
});
document.addEventListener("paste", (event) => {
  const picture = [...(event.clipboardData?.files ?? [])].find((file) => file.type.startsWith("image/"));
  if (picture && commands.paste(picture)) event.preventDefault();
});

// The bar ------------------------------------------------------------------------------------------------

function begin() {
  stage.video.play().catch(() => {});
  session.start();
}

async function capture() {
  const picture = await stage.capture();
  if (picture) save(picture, "png", "Picture saved.");
}

async function saveLog() {
  const { path, redacted } = session.log;
  const text = redacted
    ? "Session log saved, without its texts: its commands cannot be given again."
    : "Session log saved. It holds what was typed.";
  try {
    save(await server.sessionLog(path), "jsonl", text);
  } catch (error) {
    notices.show(`No session log: ${error.message}`, "problem");
  }
}

function save(blob, extension, text) {
  const stamp = new Date().toISOString().slice(0, 19).replace(/[T:]/g, "-");
  const link = el("a", {
    href: URL.createObjectURL(blob),
    download: `${(modelName || "frame").replace(/[^\w.-]+/g, "-")}-${stamp}.${extension}`,
  });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  notices.show(text);
}

function offerRecording(offered) {
  for (const id of ["clip", "record"]) byId(id).hidden = !offered;
}

function onRecording({ busy, recording: on }) {
  const button = byId("record");
  if (on !== (button.getAttribute("aria-pressed") === "true"))
    announce(on ? "Recording." : "The recording has ended.");
  button.setAttribute("aria-pressed", String(on));
  button.title = on ? "End the recording and save it" : "Record a film";
  byId("clip").setAttribute("aria-busy", String(busy));
}

async function copyLink() {
  try {
    await navigator.clipboard.writeText(location.href);
    notices.show("Link copied. Whoever opens it joins this session.");
  } catch {
    notices.show(`Copy this address: ${location.href}`);
  }
}

function toggleOverlay(shown = byId("overlay").hidden) {
  byId("overlay").hidden = !shown;
  byId("stats").setAttribute("aria-pressed", String(shown));
  overlay.refresh();
}

function toggleSound() {
  stage.video.muted = !stage.video.muted;
  byId("sound").setAttribute("aria-pressed", String(!stage.video.muted));
}

const help = byId("help");
const shortcuts = new Shortcuts(
  {
    "?": { label: "Show this help", run: () => help.showModal() },
    f: { label: "Full screen", run: () => stage.toggleFullScreen().catch(() => {}) },
    o: { label: "Numbers: rate, delay, network", run: () => toggleOverlay() },
    c: { label: "Save the picture", run: capture },
    h: { label: "Hide or show the controls", run: () => sheet.toggle() },
  },
  byId("help-list"),
);

byId("start").addEventListener("click", begin);
byId("cover-start").addEventListener("click", begin);
byId("stop").addEventListener("click", () => session.stop());
byId("capture").addEventListener("click", capture);
byId("clip").addEventListener("click", () => {
  notices.show(`Saving the last ${CLIP_S} seconds …`);
  recording.clip(CLIP_S);
});
byId("record").addEventListener("click", () => recording.toggle());
byId("session-log").addEventListener("click", saveLog);
byId("copy").addEventListener("click", copyLink);
byId("stats").addEventListener("click", () => toggleOverlay());
byId("sound").addEventListener("click", toggleSound);
byId("full").addEventListener("click", () => stage.toggleFullScreen().catch(() => {}));
byId("panel-toggle").addEventListener("click", () => sheet.toggle());
byId("help-open").addEventListener("click", () => help.showModal());
byId("help-close").addEventListener("click", () => help.close());
byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  server.setToken(byId("token").value.trim());
  session.start();
});
// The server notices at once, instead of after a silence.
addEventListener("pagehide", () => session.connection?.close());
addEventListener("pageshow", (event) => event.persisted && session.start());

toggleOverlay(false);
session.start();

window.reactorPage = {
  get state() {
    return session.view.name;
  },
  get view() {
    return session.view;
  },
  get sessionId() {
    return session.descriptor?.session_id ?? null;
  },
  get creator() {
    return session.creator;
  },
  get stats() {
    return overlay.stats();
  },
  /** Displayed frames, newest last: {rtp, displayMs, receivedMs, presented}. */
  get frames() {
    return stage.frames.frames;
  },
  /** Display times (performance.now) of the last frames, newest last. */
  get lastFrameTimes() {
    return stage.frames.frames.map((frame) => frame.displayMs);
  },
  get delays() {
    return [...tracker.delays];
  },
  get peer() {
    return session.connection?.peer ?? null;
  },
  sendCommand,
  start: () => session.start(),
  stop: () => session.stop(),
};
