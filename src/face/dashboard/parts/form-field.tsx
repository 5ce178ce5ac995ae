import type { ComponentChildren } from 'preact';
import type { Field, Value } from '../form/fields.ts';
import { Choices, FieldInput } from './field-input.tsx';
import { FileField } from './file-field.tsx';

export interface FormFieldProps {
  readonly id: string;
  readonly field: Field;
  readonly value: Value;
  readonly error: string | undefined;
  readonly isDisabled: boolean;
  readonly onChange: (value: Value) => void;
}

const FEW = 4;

/** A field with its label, its help and what is wrong with it. */
export function FormField(props: FormFieldProps) {
  const { id, field, value, error, isDisabled, onChange } = props;
  const { kind, name } = field;
  const help = helpOf(field);
  const describedBy = [help && `${id}-help`, error && `${id}-error`].filter(Boolean).join(' ') || undefined;
  const around = { id, error, help };
  const usual = { id, describedBy, isInvalid: error !== undefined, isDisabled };
  if (kind.kind === 'truth')
    return (
      <Around {...around}>
        <label class="tick">
          <input
            id={id}
            type="checkbox"
            name={name}
            checked={value === true}
            disabled={isDisabled}
            aria-describedby={describedBy}
            onChange={(event) => onChange(event.currentTarget.checked)}
          />
          {field.label}
        </label>
      </Around>
    );
  if (
    kind.kind === 'choices' ||
    (kind.kind === 'choice' && kind.choices.length <= FEW && (field.isRequired || value !== ''))
  )
    return (
      <Around {...around} legend={<LabelText field={field} />} describedBy={describedBy}>
        <Choices
          {...usual}
          name={name}
          type={kind.kind === 'choice' ? 'radio' : 'checkbox'}
          choices={kind.choices}
          chosen={kind.kind === 'choice' ? [String(value)] : (value as readonly string[])}
          onChange={(chosen) => onChange(kind.kind === 'choice' ? (chosen[0] ?? '') : chosen)}
        />
      </Around>
    );
  return (
    <Around {...around}>
      <label for={id} id={`${id}-label`}>
        <LabelText field={field} />
      </label>
      {kind.kind === 'files' ? (
        <FileField
          {...usual}
          labelId={`${id}-label`}
          kind={kind}
          files={value as readonly File[]}
          onChange={onChange}
        />
      ) : (
        <FieldInput {...usual} field={field} value={value} onChange={onChange} />
      )}
    </Around>
  );
}

function LabelText({ field }: { readonly field: Field }) {
  return (
    <>
      {field.label}
      {field.isRequired && <span class="needed"> (needed)</span>}
    </>
  );
}

interface AroundProps {
  readonly id: string;
  readonly help: string | undefined;
  readonly error: string | undefined;
  readonly legend?: ComponentChildren;
  readonly describedBy?: string | undefined;
  readonly children: ComponentChildren;
}

function Around({ id, help, error, legend, describedBy, children }: AroundProps) {
  const below = (
    <>
      {help && (
        <p class="help" id={`${id}-help`}>
          {help}
        </p>
      )}
      {error && (
        <p class="error" id={`${id}-error`}>
          {error}
        </p>
      )}
    </>
  );
  if (legend === undefined)
    return (
      <div class="field">
        {children}
        {below}
      </div>
    );
  return (
    <fieldset class="field" aria-describedby={describedBy}>
      <legend>{legend}</legend>
      {children}
      {below}
    </fieldset>
  );
}

function helpOf({ help, kind }: Field): string | undefined {
  const how = kind.kind === 'lines' ? 'One on each line.' : kind.kind === 'json' ? 'Written as JSON.' : undefined;
  return [help, how].filter((part) => part !== undefined).join(' ') || undefined;
}
