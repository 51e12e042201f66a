/** Begin again, with a seed of one's own if the model takes one. */

import { type FormEvent, useState } from "react";

type Props = {
  live: boolean;
  withSeed: boolean;
  onStartOver: (seed: number | undefined) => void;
};

export function StartOver({ live, withSeed, onStartOver }: Props) {
  const [seed, setSeed] = useState("");

  const submit = (event: FormEvent) => {
    event.preventDefault();
    onStartOver(seed === "" ? undefined : Number(seed));
  };

  return (
    <form className="start-over" onSubmit={submit}>
      {withSeed && (
        <input className="input" inputMode="numeric" pattern="[0-9]*" maxLength={9} aria-label="Seed" placeholder="Seed"
          value={seed} onChange={(event) => setSeed(event.target.value)} />
      )}
      <button className="button quiet" disabled={!live}>
        Start over
      </button>
    </form>
  );
}
