/** Where prompts are typed. Enter plays, Shift+Enter starts a new line. */

import { type FormEvent, type KeyboardEvent, useState } from "react";

import type { JsonSchema } from "./runtime";

type Props = {
  live: boolean;
  /** Show examples to begin with. */
  suggest: boolean;
  /** What the model says of its prompt. */
  about: JsonSchema | undefined;
  onPrompt: (text: string) => void;
};

/** For a model that names no examples of its own. */
const SUGGESTIONS = ["A stormy ocean at dusk", "A forest in spring", "Snow falling at night", "Neon streets in the rain"];

export function PromptBox({ live, suggest, about, onPrompt }: Props) {
  const [text, setText] = useState("");

  const submit = (event: FormEvent) => {
    event.preventDefault();
    const prompt = text.trim();
    if (!prompt || !live) return;
    onPrompt(prompt);
    setText("");
  };

  const onKeyDown = (event: KeyboardEvent<HTMLTextAreaElement>) => {
    // While an input method composes a word, Enter belongs to it.
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    event.currentTarget.form?.requestSubmit();
  };

  return (
    <div className="composer">
      {suggest && (
        <div className="suggestions" aria-label="Examples" role="group">
          {(about?.examples?.map(String) ?? SUGGESTIONS).map((suggestion) => (
            <button key={suggestion} className="button" disabled={!live} onClick={() => onPrompt(suggestion)}>
              {suggestion}
            </button>
          ))}
        </div>
      )}
      <form className="prompt" onSubmit={submit}>
        <textarea
          aria-label="Prompt"
          placeholder={about?.["x-placeholder"] ?? "What should happen next?"}
          rows={1}
          maxLength={2000}
          value={text}
          onChange={(event) => setText(event.target.value)}
          onKeyDown={onKeyDown}
        />
        <button className="button primary" disabled={!live || !text.trim()}>
          Play
        </button>
      </form>
    </div>
  );
}
