import { useReactor, WebcamStream } from "@reactor-team/js-sdk";
import { useMemo, useState } from "react";

import { argumentsFrom } from "./argument";
import { CommandCard } from "./CommandCard";
import { Messages } from "./Messages";
import { type Command, commandsOf, titleOf, type Values } from "./schema";
import { Stage } from "./Stage";
import { TopBar } from "./TopBar";
import { useConnection } from "./useConnection";
import { useModel } from "./useModel";

export function App() {
  const connection = useConnection();
  const model = useModel(connection.live);
  const { sendCommand, uploadFile } = useReactor(({ sendCommand, uploadFile }) => ({ sendCommand, uploadFile }));
  const [camera, setCamera] = useState(false);

  const commands = useMemo(() => (model ? commandsOf(model) : []), [model]);
  const actions = commands.filter((command) => command.fields.length === 0);
  const cameraTrack = model?.["x-reactor"].tracks.find((track) => track.direction === "in" && track.kind === "video");

  const send = async (command: Command, values: Values) => {
    await sendCommand(command.name, await argumentsFrom(command.fields, values, uploadFile));
  };

  return (
    <div className="app">
      <TopBar name={model?.info.title ?? "Reactor"} connection={connection}>
        {cameraTrack && (
          <button className="button quiet" aria-pressed={camera} onClick={() => setCamera(!camera)}>
            {camera ? "Stop camera" : "Camera"}
          </button>
        )}
      </TopBar>
      <Stage connection={connection}>
        {camera && cameraTrack && <WebcamStream track={cameraTrack.name} className="webcam" />}
      </Stage>
      <aside className="panel" aria-label="Commands">
        {model?.info.description && <p className="about">{model.info.description}</p>}
        {actions.length > 0 && (
          <div className="actions">
            {actions.map((command) => (
              <button key={command.name} className="button" title={command.summary} disabled={!connection.live}
                onClick={() => void send(command, {})}>
                {titleOf(command.name)}
              </button>
            ))}
          </div>
        )}
        <Messages />
        {commands.filter((command) => command.fields.length > 0).map((command) => (
          <CommandCard key={command.name} command={command} live={connection.live} send={send} />
        ))}
        {!model && <p className="about">The controls appear when the model is connected.</p>}
      </aside>
    </div>
  );
}
