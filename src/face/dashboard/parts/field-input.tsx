import type { Choice, Field, FieldKind, Value } from '../form/fields.ts';

export interface FieldInputProps {
  readonly id: string;
  readonly field: Field;
  readonly value: Value;
  readonly describedBy: string | undefined;
  readonly isInvalid: boolean;
  readonly isDisabled: boolean;
  readonly onChange: (value: Value) => void;
}

/** The control of a field with one label. Groups of ticks and files have their own. */
export function FieldInput({ id, field, value, describedBy, isInvalid, isDisabled, onChange }: FieldInputProps) {
  const { kind, name, isRequired } = field;
  const usual = {
    id,
    name,
    disabled: isDisabled,
    'aria-describedby': describedBy,
    'aria-invalid': isInvalid,
    'aria-required': isRequired,
  };
  const typed = {
    ...usual,
    value: String(value),
    // What the service takes when it is left empty.
    placeholder: kind.kind === 'text' || kind.kind === 'number' ? String(field.initial) : '',
    onInput: (event: { currentTarget: { value: string } }) => onChange(event.currentTarget.value),
  };
  switch (kind.kind) {
    case 'text':
      return kind.isLong ? (
        <textarea rows={4} {...typed} />
      ) : (
        <input type={kind.inputType as 'text'} autocomplete="off" {...typed} />
      );
    case 'number':
      return <input type="number" inputMode={inputModeOf(kind)} {...limitsOf(kind)} {...typed} />;
    case 'choice':
      return (
        <select {...usual} value={String(value)} onChange={(event) => onChange(event.currentTarget.value)}>
          {(value === '' || !isRequired) && <option value="">{isRequired ? 'Choose…' : '(none)'}</option>}
          {kind.choices.map(({ text, label }) => (
            <option key={text} value={text}>
              {label}
            </option>
          ))}
        </select>
      );
    case 'lines':
      return <textarea rows={4} spellcheck={false} {...typed} />;
    default:
      return <textarea class="code" rows={5} spellcheck={false} {...typed} />;
  }
}

/** On telephones the keyboard of figures has no minus sign. */
function inputModeOf({ isInteger, min }: Extract<FieldKind, { kind: 'number' }>): 'numeric' | 'decimal' | undefined {
  if (min === undefined || min < 0) return undefined;
  return isInteger ? 'numeric' : 'decimal';
}

function limitsOf({ isInteger, min, max, step }: Extract<FieldKind, { kind: 'number' }>) {
  return { min, max, step: step ?? (isInteger ? 1 : 'any') };
}

interface ChoicesProps {
  readonly id: string;
  readonly name: string;
  readonly type: 'radio' | 'checkbox';
  readonly choices: readonly Choice[];
  readonly chosen: readonly string[];
  readonly isDisabled: boolean;
  readonly isInvalid: boolean;
  readonly onChange: (chosen: readonly string[]) => void;
}

/** One of few, or some of several. */
export function Choices({ id, name, type, choices, chosen, isDisabled, isInvalid, onChange }: ChoicesProps) {
  const toggle = (text: string, isOn: boolean): void => {
    const ticked = choices.map((choice) => choice.text).filter((one) => (one === text ? isOn : chosen.includes(one)));
    onChange(type === 'radio' ? [text] : ticked);
  };
  return (
    <>
      {choices.map(({ text, label }, at) => (
        <label key={text} class="tick">
          <input
            id={at === 0 ? id : undefined}
            type={type}
            name={name}
            value={text}
            checked={chosen.includes(text)}
            disabled={isDisabled}
            aria-invalid={isInvalid}
            onChange={(event) => toggle(text, event.currentTarget.checked)}
          />
          {label}
        </label>
      ))}
    </>
  );
}
