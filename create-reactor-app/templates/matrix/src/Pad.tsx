/** Four keys on the screen: pressed by finger or mouse, lit when held on the keyboard. */

import type { PointerEvent } from "react";

import type { Controls, Key } from "./useControls";

type Props = {
  label: string;
  /** Up, left, down, right. */
  keys: readonly [Key, Key, Key, Key];
  words: readonly [string, string, string, string];
  controls: Controls;
  live: boolean;
};

const PLACES = ["up", "left", "down", "right"] as const;

export function Pad({ label, keys, words, controls, live }: Props) {
  return (
    <div className="pad" role="group" aria-label={label}>
      {keys.map((key, index) => (
        <button
          key={key}
          className="key"
          data-place={PLACES[index]}
          data-held={controls.held.includes(key)}
          aria-label={words[index]}
          disabled={!live}
          onPointerDown={(event: PointerEvent<HTMLButtonElement>) => {
            // The finger may slide off the key and must still let go of it.
            event.currentTarget.setPointerCapture(event.pointerId);
            controls.press(key);
          }}
          onLostPointerCapture={() => controls.release(key)}
          onKeyDown={(event) => (event.key === " " || event.key === "Enter") && controls.press(key)}
          onKeyUp={() => controls.release(key)}
          onBlur={() => controls.release(key)}
          onContextMenu={(event) => event.preventDefault()}
        >
          {key}
        </button>
      ))}
    </div>
  );
}
