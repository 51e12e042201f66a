import { useReactor } from "@reactor-team/js-sdk";
import { useRef } from "react";

import { Pad } from "./Pad";
import { Stage } from "./Stage";
import { StartImage } from "./StartImage";
import { TopBar } from "./TopBar";
import { useConnection } from "./useConnection";
import { useControls } from "./useControls";
import { argumentsOf, commandOf, useModel } from "./useModel";
import { useMouseLook } from "./useMouseLook";

export function App() {
  const connection = useConnection();
  const model = useModel(connection.live);
  const sendCommand = useReactor((state) => state.sendCommand);
  const controls = useControls(connection.live, argumentsOf(model, "control"));
  const screen = useRef<HTMLElement>(null);
  const { captured, capture } = useMouseLook(screen, controls);

  return (
    <div className="app">
      <TopBar name={model?.info.title ?? "Matrix"} connection={connection}>
        <button className="button quiet" disabled={!connection.live} onClick={() => void sendCommand("reset", {})}>
          Reset
        </button>
      </TopBar>
      <main className="screen" ref={screen} onClick={capture}>
        <Stage connection={connection} waitingFor={model?.["x-reactor"].first_frame}>
          {!controls.played && (
            <p className="first">{commandOf(model, "control")?.["x-hint"] ?? "W A S D to move"}</p>
          )}
          <p className="hint">{captured ? "Esc gives the mouse back" : "Click to look with the mouse"}</p>
        </Stage>
      </main>
      <footer className="controls">
        <Pad label="Move" keys={["W", "A", "S", "D"]} words={["Forward", "Left", "Back", "Right"]}
          controls={controls} live={connection.live} />
        <StartImage live={connection.live} />
        <Pad label="Look" keys={["I", "J", "K", "L"]} words={["Look up", "Look left", "Look down", "Look right"]}
          controls={controls} live={connection.live} />
      </footer>
    </div>
  );
}
