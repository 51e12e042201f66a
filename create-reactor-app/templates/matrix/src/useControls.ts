/**
 * What is held down, as the model's `control` command.
 *
 * The model keeps doing what it was told last, so a command is sent when the held keys change and not in between.
 * Of two keys held at once the newer counts, and letting go of it goes back to the older. A model that takes a list of
 * what is held as well, which its schema marks, is told of both: W with A goes forward and to the left.
 */

import { useReactor } from "@reactor-team/js-sdk";
import { useCallback, useEffect, useState } from "react";

import type { JsonSchema } from "./runtime";

export type MoveKey = "W" | "A" | "S" | "D";
export type LookKey = "J" | "K" | "L" | "I";
export type Key = MoveKey | LookKey;

/** Places on the keyboard, not letters: W is above A on every layout. */
const KEYS: Record<string, Key> = {
  KeyW: "W", KeyA: "A", KeyS: "S", KeyD: "D",
  KeyI: "I", KeyJ: "J", KeyK: "K", KeyL: "L",
  ArrowUp: "I", ArrowLeft: "J", ArrowDown: "K", ArrowRight: "L",
};

const isMove = (key: Key): key is MoveKey => "WASD".includes(key);
const isLook = (key: Key): key is LookKey => "JKLI".includes(key);

export type Controls = {
  held: readonly Key[];
  /** Whether a key was pressed since the page came. */
  played: boolean;
  press: (key: Key) => void;
  release: (key: Key) => void;
};

export function useControls(live: boolean, parameters: Record<string, JsonSchema>): Controls {
  const sendCommand = useReactor((state) => state.sendCommand);
  const [held, setHeld] = useState<readonly Key[]>([]);

  const [played, setPlayed] = useState(false);

  const press = useCallback((key: Key) => {
    setPlayed(true);
    setHeld((before) => (before.includes(key) ? before : [...before, key]));
  }, []);
  const release = useCallback((key: Key) => setHeld((before) => before.filter((other) => other !== key)), []);

  const keyboardKey = held.findLast(isMove) ?? "Q";
  const mouseKey = held.findLast(isLook) ?? "U";
  const [list, { items, maxItems } = {}] = Object.entries(parameters).find(([, part]) => part["x-also-held"]) ?? [];
  const others = held
    .filter((key) => key !== keyboardKey && key !== mouseKey && items?.enum?.includes(key))
    .slice(-(maxItems ?? held.length))
    .reverse()
    .join("");
  useEffect(() => {
    const besides = list ? { [list]: [...others] } : {};
    if (live) void sendCommand("control", { mouse_key: mouseKey, keyboard_key: keyboardKey, ...besides });
  }, [live, mouseKey, keyboardKey, list, others, sendCommand]);

  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      const key = keyOf(event);
      if (!key) return;
      event.preventDefault();
      press(key);
    };
    const onKeyUp = (event: KeyboardEvent) => {
      const key = KEYS[event.code];
      if (key) release(key);
    };
    // Keys that are let go elsewhere are never reported.
    const releaseAll = () => setHeld([]);
    addEventListener("keydown", onKeyDown);
    addEventListener("keyup", onKeyUp);
    addEventListener("blur", releaseAll);
    return () => {
      removeEventListener("keydown", onKeyDown);
      removeEventListener("keyup", onKeyUp);
      removeEventListener("blur", releaseAll);
    };
  }, [press, release]);

  return { held, played, press, release };
}

function keyOf(event: KeyboardEvent): Key | undefined {
  if (event.ctrlKey || event.metaKey || event.altKey) return undefined;
  if (event.target instanceof Element && event.target.closest("input, textarea, select")) return undefined;
  return KEYS[event.code];
}
