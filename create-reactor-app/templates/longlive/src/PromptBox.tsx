/** Where prompts are typed. Enter plays, Shift+Enter starts a new line. */

import { type FormEvent, type KeyboardEvent, useState } from "react";

type Props = {
  live: boolean;
  /** Show examples to begin with. */
  suggest: boolean;
  onPrompt: (text: string) => void;
};

const SUGGESTIONS = ["A stormy ocean at dusk", "A forest in spring", "Snow falling at night", "Neon streets in the rain"];

export function PromptBox({ live, suggest, onPrompt }: Props) {
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
          {SUGGESTIONS.map((suggestion) => (
            <button key={suggestion} className="button" disabled={!live} onClick={() => onPrompt(suggestion)}>
              {suggestion}
            </button>
          ))}
        </div>
      )}
      <form className="prompt" onSubmit={submit}>
        <textarea
          aria-label="Prompt"
          placeholder="What should happen next?"
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
