// What the tests' page has at hand: the SDK as released, a client with a record, and the React components.
import * as sdk from "@reactor-team/js-sdk";
import { createRoot } from "react-dom/client";

const video = document.createElement("video");
video.muted = video.autoplay = video.playsInline = true;
document.body.append(video);
const canvas = new OffscreenCanvas(320, 240);
const context = canvas.getContext("2d", { willReadFrequently: true });

window.sdk = sdk;
window.record = { shown: 0, statuses: [], messages: [], runtime: [], errors: [], tracks: [] };
window.colour = (x, y) => {
  const shown = document.querySelector("#root video") ?? video;
  context.drawImage(shown, 0, 0, 320, 240);
  return Array.from(context.getImageData(x, y, 1, 1).data.slice(0, 3));
};
const count = () => {
  record.shown += 1;
  video.requestVideoFrameCallback(count);
};
video.requestVideoFrameCallback(count);

window.makeClient = (apiUrl) => {
  const client = (window.client = new sdk.Reactor({ apiUrl, modelName: "probe", local: true }));
  client.on("statusChanged", (status) => record.statuses.push(status));
  client.on("message", (message) => record.messages.push(message));
  client.on("runtimeMessage", (message) => record.runtime.push(message));
  client.on("error", (error) => record.errors.push(error));
  client.on("trackReceived", (name, track) => {
    record.tracks.push(name);
    video.srcObject = new MediaStream([track]);
  });
};

window.camera = (colour) => {
  const source = document.createElement("canvas");
  [source.width, source.height] = [320, 240];
  const draw = source.getContext("2d");
  let n = 0;
  setInterval(() => {
    draw.fillStyle = colour;
    draw.fillRect(0, 0, 320, 240);
    draw.fillStyle = "black";
    draw.fillRect((n = (n + 3) % 320), 0, 4, 4);
  }, 33);
  return source.captureStream(30).getVideoTracks()[0];
};

window.renderReact = (apiUrl) => {
  const root = document.createElement("div");
  root.id = "root";
  document.body.append(root);
  const Status = () => <output>{sdk.useReactor((state) => state.status)}</output>;
  createRoot(root).render(
    <sdk.ReactorProvider apiUrl={apiUrl} modelName="probe" local jwtToken="local" connectOptions={{ autoConnect: true }}>
      <Status />
      <sdk.ReactorView />
      <sdk.ReactorController />
    </sdk.ReactorProvider>,
  );
};
