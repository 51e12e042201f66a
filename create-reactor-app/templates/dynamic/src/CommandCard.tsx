/**
 * One command with its controls.
 *
 * A command with one slider, switch or choice takes effect as it is moved; others have a button.
 */

import { type FormEvent, useEffect, useRef, useState } from "react";

import { FieldInput } from "./FieldInput";
import { type Command, type Field, initialValues, titleOf, type Values } from "./schema";

type Props = {
  command: Command;
  live: boolean;
  send: (command: Command, values: Values) => Promise<void>;
};

/** A slider moves faster than anybody can see the picture change. */
const SLIDER_MS = 60;

export function CommandCard({ command, live, send }: Props) {
  const [values, setValues] = useState(() => initialValues(command.fields));
  const [problem, setProblem] = useState("");
  const [sent, setSent] = useState(0);
  const timer = useRef<number>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);

  const only = command.fields.length === 1 ? command.fields[0]! : undefined;
  const atOnce = only !== undefined && (only.kind === "switch" || isSlider(only));

  const dispatch = async (entered: Values) => {
    try {
      await send(command, entered);
      setProblem("");
      setSent((count) => count + 1);
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
  };

  const change = (field: Field, value: unknown) => {
    const changed = { ...values, [field.name]: value };
    setValues(changed);
    if (!atOnce) return;
    clearTimeout(timer.current);
    timer.current = setTimeout(() => void dispatch(changed), SLIDER_MS);
  };

  const submit = (event: FormEvent) => {
    event.preventDefault();
    void dispatch(values);
  };

  return (
    <form className="card" data-single={only !== undefined} onSubmit={submit} aria-label={titleOf(command.name)}>
      <header>
        <h3>{titleOf(command.name)}</h3>
        {sent > 0 && <span className="sent" key={sent}>Sent</span>}
      </header>
      {command.summary && <p>{command.summary}</p>}
      <fieldset disabled={!live} className="fields">
        {only?.kind === "choice" && only.options.length <= 6 ? (
          <div className="options" role="group" aria-label={titleOf(only.name)}>
            {only.options.map((option) => (
              <button key={option} type="button" className="button" onClick={() => void dispatch({ [only.name]: option })}>
                {option}
              </button>
            ))}
          </div>
        ) : (
          <>
            {command.fields.map((field) => (
              <FieldInput key={field.name} field={field} value={values[field.name]} onChange={(value) => change(field, value)} />
            ))}
            {!atOnce && <button className="button">Send</button>}
          </>
        )}
      </fieldset>
      {problem && <p className="problem" role="alert">{problem}</p>}
    </form>
  );
}

function isSlider(field: Field): boolean {
  return field.kind === "number" && field.min !== undefined && field.max !== undefined && field.max - field.min <= 1000;
}
