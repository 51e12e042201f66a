/** The control for one parameter. */

import { useId } from "react";

import { type Field, titleOf, type Values } from "./schema";

type Props = {
  field: Field;
  value: unknown;
  onChange: (value: unknown) => void;
};

export function FieldInput({ field, value, onChange }: Props) {
  const id = useId();
  if (field.kind === "group") {
    const values = (value ?? {}) as Values;
    return (
      <fieldset className="group">
        <legend>{titleOf(field.name)}</legend>
        {field.fields.map((inner) => (
          <FieldInput
            key={inner.name}
            field={inner}
            value={values[inner.name]}
            onChange={(changed) => onChange({ ...values, [inner.name]: changed })}
          />
        ))}
      </fieldset>
    );
  }
  return (
    <div className="field" data-kind={field.kind}>
      <label htmlFor={id}>
        <span>{titleOf(field.name)}</span>
        {field.kind === "number" && isRange(field) && <output htmlFor={id}>{String(value ?? "–")}</output>}
      </label>
      <Input {...{ field, value, onChange, id }} />
      {field.help && <small id={`${id}-help`}>{field.help}</small>}
    </div>
  );
}

function Input({ field, value, onChange, id }: Props & { id: string }) {
  const common = {
    id,
    required: field.required,
    "aria-describedby": field.help ? `${id}-help` : undefined,
  };
  switch (field.kind) {
    case "switch":
      return (
        <input {...common} required={false} type="checkbox" role="switch" className="switch"
          checked={value === true} onChange={(event) => onChange(event.target.checked)} />
      );
    case "choice":
      return (
        <select {...common} className="input" value={field.options.indexOf(value as string)}
          onChange={(event) => onChange(field.options[Number(event.target.value)])}>
          {value === undefined && <option value={-1}>–</option>}
          {field.options.map((option, index) => (
            <option key={option} value={index}>{option}</option>
          ))}
        </select>
      );
    case "number":
      return (
        <input {...common} type={isRange(field) ? "range" : "number"} className={isRange(field) ? "" : "input"}
          min={field.min} max={field.max} step={field.integer ? 1 : isRange(field) ? stepOf(field) : "any"}
          value={value === undefined ? "" : Number(value)}
          onChange={(event) => onChange(event.target.value === "" ? undefined : event.target.valueAsNumber)} />
      );
    case "file":
    case "base64-image":
      return (
        <input {...common} type="file" className="input" accept="image/*"
          onChange={(event) => onChange(event.target.files?.[0])} />
      );
    default:
      return (
        <input {...common} className="input" autoComplete="off" value={String(value ?? "")}
          placeholder={field.kind === "json" ? "JSON" : undefined}
          minLength={field.kind === "text" ? field.minLength : undefined}
          maxLength={field.kind === "text" ? field.maxLength : undefined}
          onChange={(event) => onChange(event.target.value)} />
      );
  }
}

type NumberField = Extract<Field, { kind: "number" }>;

/** A slider where every value is worth a pixel, else a box to type in. */
function isRange({ min, max, integer }: NumberField): boolean {
  return min !== undefined && max !== undefined && (!integer || max - min <= 1000);
}

function stepOf({ min = 0, max = 1 }: NumberField): number {
  return 10 ** Math.floor(Math.log10((max - min) / 100));
}
