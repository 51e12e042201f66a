/**
 * Turning a stream's pictures the way up that the browser shows them.
 *
 * A film from a phone, and some cameras, store their pictures lying and say beside them how to turn and mirror
 * them. Browsers show that, but what they send of a film is the stored picture, or nothing where the receiver
 * does not turn it.
 */

/** A camera or film that shows nothing for this long is sent as it is. */
const FIRST_FRAME_MS = 2_000;

/** Chromium alone hands out the frames of a stream. */
const framesAtHand = "MediaStreamTrackProcessor" in window && "MediaStreamTrackGenerator" in window;

/** Return a stream of upright pictures: the same one where they are upright already. */
export async function uprightStream(stream) {
  if (!framesAtHand) return stream;
  const [track] = stream.getVideoTracks();
  if (!(await isTurned(track))) return stream;
  const canvas = new OffscreenCanvas(1, 1);
  const context = canvas.getContext("2d");
  const turning = new TransformStream({
    transform: (frame, frames) => frames.enqueue(upright(frame, context)),
  });
  const generator = new MediaStreamTrackGenerator({ kind: "video" });
  new MediaStreamTrackProcessor({ track }).readable
    .pipeThrough(turning)
    .pipeTo(generator.writable)
    .catch(() => {}) // one of the two tracks was stopped
    .finally(() => track.stop());
  return new MediaStream([generator]);
}

/** Return the stream of a film that plays: upright, and without sound. */
export async function filmStream(player) {
  if (!framesAtHand) return paintedStream(player);
  return uprightStream(new MediaStream(player.captureStream().getVideoTracks()));
}

/** The film as the browser paints it; it pauses with the painting while its tab is hidden. */
function paintedStream(player) {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d");
  const [track] = canvas.captureStream().getVideoTracks();
  const paint = () => {
    if (track.readyState === "ended") return;
    fit(canvas, player.videoWidth, player.videoHeight);
    context.drawImage(player, 0, 0, canvas.width, canvas.height);
    player.requestVideoFrameCallback(paint);
  };
  paint();
  return new MediaStream([track]);
}

async function isTurned(track) {
  const reader = new MediaStreamTrackProcessor({ track }).readable.getReader();
  const timer = setTimeout(() => reader.cancel(), FIRST_FRAME_MS);
  const { value: frame } = await reader.read();
  clearTimeout(timer);
  reader.cancel();
  if (!frame) return false;
  const turned = Boolean(frame.rotation || frame.flip);
  frame.close();
  return turned;
}

function upright(frame, context) {
  if (!frame.rotation && !frame.flip) return frame;
  fit(context.canvas, frame.displayWidth, frame.displayHeight);
  context.drawImage(frame, 0, 0);
  const { timestamp } = frame;
  frame.close();
  return new VideoFrame(context.canvas, { timestamp });
}

/** Setting a size takes new memory, even when it is the same. */
function fit(canvas, width, height) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
}
