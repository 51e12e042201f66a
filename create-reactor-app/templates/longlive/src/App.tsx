import { useReactor } from "@reactor-team/js-sdk";
import { useState } from "react";

import { History, type Prompt } from "./History";
import { PromptBox } from "./PromptBox";
import { StartOver } from "./StartOver";
import { Stage } from "./Stage";
import { TopBar } from "./TopBar";
import { useConnection } from "./useConnection";
import { argumentsOf, hasCommand, useModel } from "./useModel";

export function App() {
  const connection = useConnection();
  const model = useModel(connection.live);
  const { sendCommand, sessionId } = useReactor(({ sendCommand, sessionId }) => ({ sendCommand, sessionId }));
  const [history, setHistory] = useState<Prompt[]>([]);
  /** What plays now. Another session begins with the model's own prompt. */
  const [current, setCurrent] = useState<{ text: string; sessionId: string | undefined }>();

  const play = (text: string) => {
    void sendCommand("set_prompt", { prompt: text });
    setHistory((before) => [...before, { text, at: new Date() }]);
    setCurrent({ text, sessionId });
  };

  const startOver = (seed: number | undefined) => {
    void sendCommand("reset", {});
    // After the reset, which may bring back the model's own seed.
    if (seed !== undefined) void sendCommand("set_seed", { seed });
    setCurrent(undefined);
  };

  return (
    <div className="app">
      <TopBar name={model?.info.title ?? "LongLive"} connection={connection}>
        {hasCommand(model, "reset") && (
          <StartOver live={connection.live} withSeed={hasCommand(model, "set_seed")} onStartOver={startOver} />
        )}
      </TopBar>
      <Stage connection={connection} waitingFor={model?.["x-reactor"].first_frame ?? "It may be waiting for your first prompt."}>
        {current && current.sessionId === sessionId && <p className="caption">{current.text}</p>}
      </Stage>
      <PromptBox
        live={connection.live}
        suggest={history.length === 0}
        about={argumentsOf(model, "set_prompt").prompt}
        onPrompt={play}
      />
      <History prompts={history} live={connection.live} onPrompt={play} />
    </div>
  );
}
