/** The picture that the world starts from: one of ours, or one of the player's own. */

import { useReactor } from "@reactor-team/js-sdk";
import { type ChangeEvent, useState } from "react";

import { asBase64, imageAsBase64 } from "./image";

const SCENES = [
  { id: "dusk", label: "Dusk" },
  { id: "desert", label: "Desert" },
  { id: "snow", label: "Snow" },
];

export function StartImage({ live }: { live: boolean }) {
  const sendCommand = useReactor((state) => state.sendCommand);
  const [chosen, setChosen] = useState("");
  const [problem, setProblem] = useState("");

  const start = async (id: string, picture: Promise<string>) => {
    try {
      await sendCommand("set_starting_image", { base64_image: await picture, image_id: id });
      setChosen(id);
      setProblem("");
    } catch (error) {
      console.error("The start image could not be sent", error);
      setProblem("This picture could not be read. Try a JPEG or PNG.");
    }
  };

  const onFile = (event: ChangeEvent<HTMLInputElement>) => {
    const file = event.target.files?.[0];
    event.target.value = ""; // so that the same file can be chosen again
    if (file) void start(file.name, imageAsBase64(file));
  };

  return (
    <div className="start-image" role="group" aria-label="Start image">
      {SCENES.map(({ id, label }) => (
        <button key={id} className="scene" disabled={!live} aria-pressed={chosen === id}
          onClick={() => void start(id, asBase64(`/scenes/${id}.svg`))}>
          <img src={`/scenes/${id}.svg`} alt="" width="72" height="48" />
          <span>{label}</span>
        </button>
      ))}
      <label className="scene own" data-disabled={!live}>
        <input type="file" accept="image/*" className="visually-hidden" disabled={!live} onChange={onFile} />
        <i aria-hidden="true">+</i>
        <span>Your own</span>
      </label>
      {problem && <p className="problem" role="alert">{problem}</p>}
    </div>
  );
}
