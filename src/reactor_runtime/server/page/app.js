/**
 * The page: makes its parts, and carries what one says to the others.
 *
 *   server ── session ── connection        who is connected, and what is said; on its way since `begin.js`
 *   stage ── latency ── breakdown, overlay what is displayed, how late, and why
 *   line, people ─ together                how good the connection is, and who else is here
 *   cover, bar                             the state, and what can be pressed
 *   commands ── card ── controls, keypad   what people can change
 *   play ── keypad, thumbs, look, gamepad  the same with the hands, on the picture
 *   sharing ── webcam                      what people give
 *   invitation                             what a newcomer does first
 *   ballot                                 what is voted on; loaded when something is
 */

import { announce } from "./announcer.js";
import { Bar } from "./bar.js";
import { hear, server as begunServer, session as begunSession } from "./begin.js";
import { Breakdown } from "./breakdown.js";
import { Commands } from "./commands.js";
import { Cover } from "./cover.js";
import { byId } from "./dom.js";
import { giveFocusBack } from "./focus.js";
import { Grip } from "./grip.js";
import { Invitation } from "./invitation.js";
import { DelayTracker } from "./latency.js";
import { Line } from "./line.js";
import { Log, Notices } from "./notices.js";
import { Overlay } from "./overlay.js";
import { People } from "./people.js";
import { Play } from "./play.js";
import { readSchema } from "./schema.js";
import { Sender } from "./sender.js";
import { Sharing } from "./sharing.js";
import { Sheet } from "./sheet.js";
import { Stage } from "./stage.js";
import { ENDINGS } from "./words.js";

/** States in which the session is over. */
const OVER = new Set(["ended", "failed", "locked", "occupied"]);

export const server = begunServer;
export const session = begunSession;
const notices = new Notices(byId("notices"));
const log = new Log(byId("log"), byId("messages"));
export const stage = new Stage({
  root: byId("stage"),
  video: byId("video", HTMLVideoElement),
  glow: byId("glow", HTMLCanvasElement),
  onFrame,
});
export const breakdown = new Breakdown();
export const tracker = new DelayTracker(stage.frames, (delay) => {
  breakdown.shown(delay);
  commands.shown(delay);
});
export const overlay = new Overlay(byId("overlay"), {
  age: byId("age"),
  frames: stage.frames,
  delays: tracker.delays,
  breakdown,
});
export const sender = new Sender(server, session, tracker);
export const commands = new Commands(byId("commands"), {
  grip: new Grip(() => session.connection),
  send: (name, args, uploads, onId) => {
    invitation.accept();
    return sender.send(name, args, uploads, onId);
  },
  announce: (text, inPanel) => {
    announce(text);
    // Where it is not read in the panel, it is told on the picture.
    if (!inPanel || sheet.size === "low") notices.show(text, "problem");
  },
});
const play = new Play({
  screen: byId("screen"),
  surface: byId("play"),
  onGamepad: () => notices.show("Gamepad found: the left stick moves, the right one looks."),
});
giveFocusBack(() => play.keypad !== null);
const invitation = new Invitation({
  onPress: (press) => commands.press(press),
  onCamera: () => sharing.toggleCamera(),
});
const sharing = new Sharing({
  onProblem: (text) => notices.show(text, "problem"),
  onChange: () => {
    if (sharing.from) invitation.accept();
    session.describeWaiting();
  },
});
/** @type {Promise<import("./recording.js").Recording> | null} */
let films = null;

/** What records comes when somebody records. */
function recording() {
  films ??= import("./recording.js").then(({ Recording }) => new Recording(server, {
    send: (text) => session.connection?.send(text) ?? false,
    onFilm: (film) => bar.save(film, "mp4", "Film saved."),
    onChange: (now) => bar.showRecording(now),
    onProblem: (text) => notices.show(text, "problem"),
  }));
  films.catch(() => {
    films = null;
    notices.show("The server does not answer.", "problem");
  });
  return films;
}

const sheet = new Sheet(byId("panel"), byId("sheet-handle"), byId("panel-toggle"));
const cover = new Cover({
  onStart: begin,
  onToken: (token) => {
    server.setToken(token);
    session.start();
  },
  onCamera: () => sharing.toggleCamera(),
  lastShownMs: () => stage.frames.frames.at(-1)?.displayMs ?? null,
});
export const people = new People({ server, session, notices, cover, announce }, onWheel);
const bar = new Bar({ server, session, people, stage, overlay, sheet, recording, notices }, begin);

const line = new Line({
  onChange: (judged) => cover.showLine(judged),
  onSilent: () => session.back.probe(),
  onGap: () => session.connection?.renewPicture(),
  onDead: () => session.connection?.lose("your browser was offline"),
});

function begin() {
  stage.video.play().catch(() => {});
  // Whoever was told that the model is taken, and presses on, joins.
  session.start({ join: session.view.name === "occupied" });
}

// What the server says ------------------------------------------------------------------------------------

/** @type {Record<string, (data: any) => void>} */
const RUNTIME = {
  commandReceipt: (receipt) => {
    if (!receipt.accepted) tracker.drop(receipt.request_id);
    commands.receipt(receipt);
  },
  // Where there is no RTP, a picture's number is its time stamp.
  commandShown: ({ request_id: requestId, frame_id: id, rtp_timestamp: rtp, times }) =>
    tracker.shown(requestId, rtp ?? id ?? null, performance.now(), times ?? null),
  pictureSent: ({ frame_id: id, rtp_timestamp: rtp, times, rendition }) => {
    overlay.rendition = rendition;
    breakdown.sent(rtp ?? id, times, performance.now(), stage.frames.find(rtp ?? id));
  },
  stats: (values) => overlay.setServer(values),
  company: (here) => people.tell("company", here),
  people: (list) => people.tell("people", list),
  wheel: (wheel) => people.tell("wheel", wheel),
  turn: (turn) => people.tell("turn", turn),
  seat: ({ seat }) => server.keepSeat(session.descriptor?.session_id ?? "", String(seat)),
  values: ({ commands: set, reset }) => commands.follow({ commands: Object(set), reset: reset === true }),
  vote: async (told) => (await vote()).show(told),
  deadman: ({ released }) => commands.letGo(released),
  notice: ({ message, code, detail }) => {
    if (String(code).startsWith("recording_")) {
      bar.offerRecording(false);
      // What was recorded until then is there, and its author is told where.
      films?.then((recorder) => recorder.finish());
      const where = detail ? ` What was recorded is in ${detail}.` : "";
      notices.show(`${capital(String(message))}.${where}`, "problem");
      return;
    }
    // What ends the session is told by the cover.
    if (code in ENDINGS) session.failing({ said: String(message ?? ""), detail: String(detail ?? "") });
    else notices.show(String(detail || capital(String(message ?? code ?? ""))), "problem");
  },
  clipReady: async (clip) => (await films)?.answered(clip),
  clipFailed: async ({ reason }) => (await films)?.answered(null, String(reason ?? "")),
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

/** @type {Promise<import("./ballot.js").Ballot> | null} */
let ballot = null;

/** What is voted on is shown where something is. */
function vote() {
  ballot ??= import("./ballot.js").then(({ Ballot }) => new Ballot({
    stage: byId("stage"),
    send: (text) => session.connection?.send(text) ?? false,
    announce,
    shortcuts: bar.shortcuts,
    keypads: () => commands.keypads,
    mayVote: () => server.role !== "watch",
  }));
  // Where it did not come, the next word asks for it again.
  ballot.catch(() => (ballot = null));
  return ballot;
}

/** @param {import("./wire.js").Said} message */
function onMessage({ scope, type, data }) {
  line.heard();
  if (scope === "application") log.add(type, data);
  else RUNTIME[type]?.(data);
}

/** @param {import("./latency.js").Frame} frame */
function onFrame(frame) {
  line.heard();
  tracker.frame(frame);
  breakdown.displayed(frame);
  session.firstFrame();
}

// The session's states -----------------------------------------------------------------------------------

/**
 * @param {import("./connection.js").Connection} connection
 * @param {string} news
 */
function onConnected(connection, news) {
  tracker.clear();
  breakdown.clear();
  notices.clear();
  stage.stir();
  if (news) notices.show(news);
  overlay.watch(connection);
  line.watch(connection);
  commands.setConnected(people.drives);
  bar.offerRecording(session.descriptor?.recording?.enabled === true);
  sharing.attach(connection);
  // A model that shows one picture and then waits may have shown it already.
  if (stage.frames.frames.length > 0) session.firstFrame();
}

function onLost() {
  tracker.clear();
  overlay.watch(null);
  line.watch(null);
  people.lost();
  ballot?.then((shown) => shown.lost());
  commands.setConnected(false);
  films?.then((recorder) => recorder.lost());
  sharing.detach();
}

/** @param {object} openapi */
function onSchema(openapi) {
  const schema = readSchema(openapi);
  bar.modelName = schema.title;
  byId("model-name").textContent = schema.title || "Model";
  byId("model-version").textContent = schema.version;
  byId("model-about").textContent = schema.description;
  byId("model-about").hidden = !schema.description;
  byId("help-about").textContent = schema.description;
  byId("help-about").hidden = !schema.description;
  commands.render(schema.commands);
  commands.setConnected(people.drives && (session.connection?.opened ?? false));
  invitation.setModel(schema);
  bar.shortcuts.setModelKeys(commands.keypads);
  play.show(commands);
  sheet.place(play.keypad !== null);
  const input = schema.tracks.find((track) => track.kind === "video" && track.direction === "in");
  sharing.setTrack(input?.name ?? null);
  // A panel with nothing in it is not shown.
  document.body.dataset.controls = commands.isEmpty && !input ? "none" : "some";
  byId("sound").hidden = !schema.tracks.some((track) => track.kind === "audio" && track.direction === "out");
  session.expects = schema.firstFrame && `${schema.firstFrame.replace(/\.$/, "")}.`;
  session.firstFrameNeeds = () => {
    if (sharing.from) return "Your video goes to the model.";
    if (session.expects) return session.expects;
    if (!input) return "This model may need a command to begin, such as a prompt.";
    return schema.commands.length > 0
      ? "This model waits for your camera, or for a command."
      : "This model waits for your camera.";
  };
}

/**
 * Whoever watches has nothing to press: what somebody else sets is shown.
 * @param {boolean} drives
 */
function onWheel(drives) {
  document.body.dataset.wheel = drives ? "drive" : "watch";
  byId("commands").inert = !drives;
  commands.setConnected(drives && (session.connection?.opened ?? false));
  onView(session.view);
}

/** @param {import("./session.js").View} view */
function onView(view) {
  cover.show(view, { modelName: bar.modelName, offerCamera: sharing.offered && !sharing.from });
  bar.show(view);
  people.view(view);
  sharing.setEnabled(people.drives && !OVER.has(view.name));
  // What the server said of its end is past, and the cover tells it.
  if (view.name === "gone") notices.clear();
}

/** @param {string} text */
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

document.addEventListener("paste", (event) => {
  const picture = [...(event.clipboardData?.files ?? [])].find((file) => file.type.startsWith("image/"));
  if (picture && commands.paste(picture)) event.preventDefault();
});
// The server notices at once, instead of after a silence.
addEventListener("pagehide", () => session.connection?.close());
addEventListener("pageshow", (event) => event.persisted && session.start());

hear({ onView, onSchema, onStream: (stream) => stage.show(stream), onMessage, onConnected, onLost });
// Only now it is known what to expect.
session.describeWaiting();
