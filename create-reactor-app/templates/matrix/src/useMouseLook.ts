/** The mouse as look keys: click the picture to take it, Esc gives it back. */

import { type MouseEvent, type RefObject, useEffect, useRef, useState } from "react";

import type { Controls, LookKey } from "./useControls";

/** The mouse rests when it did not move for so long. */
const REST_MS = 120;
/** Smaller movements are a trembling hand. */
const THRESHOLD_PX = 3;

export function useMouseLook(surface: RefObject<HTMLElement | null>, { press, release }: Controls) {
  const [captured, setCaptured] = useState(false);
  const looking = useRef<LookKey>(undefined);

  useEffect(() => {
    const onChange = () => setCaptured(document.pointerLockElement === surface.current && surface.current !== null);
    document.addEventListener("pointerlockchange", onChange);
    return () => document.removeEventListener("pointerlockchange", onChange);
  }, [surface]);

  useEffect(() => {
    if (!captured) return;
    let resting: number | undefined;
    const look = (key: LookKey | undefined) => {
      if (looking.current === key) return;
      if (looking.current) release(looking.current);
      if (key) press(key);
      looking.current = key;
    };
    const onMove = ({ movementX, movementY }: globalThis.MouseEvent) => {
      if (Math.max(Math.abs(movementX), Math.abs(movementY)) < THRESHOLD_PX) return;
      const sideways = Math.abs(movementX) > Math.abs(movementY);
      look(sideways ? (movementX < 0 ? "J" : "L") : movementY < 0 ? "I" : "K");
      clearTimeout(resting);
      resting = setTimeout(() => look(undefined), REST_MS);
    };
    document.addEventListener("mousemove", onMove);
    return () => {
      clearTimeout(resting);
      document.removeEventListener("mousemove", onMove);
      look(undefined);
    };
  }, [captured, press, release]);

  const capture = (event: MouseEvent) => {
    // Pads and buttons on the picture are pressed, and a finger has no pointer to take.
    if (event.target instanceof Element && event.target.closest("button, input, label")) return;
    // The browser may refuse, for one right after Esc; the keys work all the same.
    if (matchMedia("(pointer: fine)").matches) void surface.current?.requestPointerLock?.()?.catch(() => {});
  };
  return { captured, capture };
}
