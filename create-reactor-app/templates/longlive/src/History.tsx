/** What was asked for so far, the newest first. One press plays it again. */

export type Prompt = { text: string; at: Date };

type Props = {
  prompts: Prompt[];
  live: boolean;
  onPrompt: (text: string) => void;
};

export function History({ prompts, live, onPrompt }: Props) {
  return (
    <aside className="history" aria-label="Prompt history">
      <h2>History</h2>
      {prompts.length === 0 && <p>Your prompts are listed here. Press one to play it again.</p>}
      <ol>
        {prompts.toReversed().map(({ text, at }, index) => (
          <li key={at.getTime()}>
            <button disabled={!live} onClick={() => onPrompt(text)} aria-current={index === 0 ? "true" : undefined}>
              <time dateTime={at.toISOString()}>{at.toLocaleTimeString([], { timeStyle: "short" })}</time>
              {text}
            </button>
          </li>
        ))}
      </ol>
    </aside>
  );
}
