import { useEffect, useRef, useState } from 'preact/hooks';
import type { ServiceForm } from '../../../ground/protocol/service.ts';
import { jobAddress, type OfService } from '../base/address.ts';
import { checkField, doubleNames } from '../form/check-field.ts';
import { type Field, fieldsOf, type Value } from '../form/fields.ts';
import { formEntries } from '../form/form-entries.ts';
import { newRequestId } from '../form/request-id.ts';
import { type Upload, upload } from '../form/upload.ts';
import { FormField } from '../parts/form-field.tsx';
import { Outcome, type Stage, stageAfter } from '../parts/submit-outcome.tsx';

const NAME = textField('job.name', 'Name of the job', 'What you want to call it; others may see it in the queue.', 256);
const CONTACT: Field = {
  ...textField('job.contact', 'Your e-mail address', 'If you want to be written to about this job.', 256),
  kind: {
    kind: 'text',
    isLong: false,
    inputType: 'email',
    minLength: undefined,
    maxLength: 256,
    pattern: '^[^\\s@]+@[^\\s@]+$',
    patternSays: 'This is no e-mail address: one looks like name@example.org.',
  },
};

export function JobForm({ params, form }: { readonly params: OfService; readonly form: ServiceForm }) {
  const [fields] = useState(() => [...fieldsOf(form.parameters), NAME, CONTACT]);
  const [values, setValues] = useState(() => new Map(fields.map(({ name, initial }) => [name, initial])));
  const [errors, setErrors] = useState<ReadonlyMap<string, string>>(new Map());
  const [stage, setStage] = useState<Stage>({ at: 'filling' });
  const requestId = useRef(newRequestId());
  const running = useRef<Upload | undefined>(undefined);
  useStay(() => running.current !== undefined);
  useFreshAfterReturn();

  const change = (field: Field, value: Value): void => {
    setValues((before) => new Map(before).set(field.name, value));
    // What was sent and what is sent now are two things from here on.
    if (stage.at === 'no-answer' || stage.at === 'refused') {
      requestId.current = newRequestId();
      setStage({ at: 'filling' });
    }
    if (!errors.has(field.name)) return;
    const wrong = checkField(field, value);
    setErrors(
      (before) =>
        new Map(
          [...before].flatMap(([name, old]) =>
            name !== field.name ? [[name, old]] : wrong === undefined ? [] : [[name, wrong]],
          ),
        ),
    );
  };
  const send = async (): Promise<void> => {
    const wrong = checkAll(fields, values);
    setErrors(wrong);
    if (wrong.size > 0) return focusFirst(fields, wrong);
    const job = {
      name: String(values.get(NAME.name)),
      contact: String(values.get(CONTACT.name)),
      requestId: requestId.current,
    };
    setStage({ at: 'sending', sent: undefined });
    running.current = upload(params, formEntries(fields.filter(isParameter), values, job), (sent) =>
      setStage((now) => (now.at === 'sending' ? { at: 'sending', sent } : now)),
    );
    try {
      const made = await running.current.done;
      running.current = undefined;
      setStage({ at: 'sent' });
      sessionStorage.setItem('pilotage-added', made.number);
      location.assign(jobAddress(made));
    } catch (error) {
      running.current = undefined;
      setStage(stageAfter(error));
    }
  };
  const isBusy = stage.at === 'sending' || stage.at === 'sent';
  return (
    <form
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        if (!isBusy) void send();
      }}
    >
      <div class="card">
        {fields.filter(isParameter).map((field) => (
          <FormField key={field.name} {...propsOf(field)} />
        ))}
        {fields.length === 2 && <p>Jobs of this service take no parameters.</p>}
      </div>
      <div class="card">
        <FormField {...propsOf(NAME)} />
        <FormField {...propsOf(CONTACT)} />
      </div>
      <Outcome stage={stage} wrong={errors.size} onCancel={() => running.current?.cancel()} />
      <p class="actions">
        <button type="submit" class="primary" disabled={isBusy}>
          {stage.at === 'no-answer' ? 'Try again' : 'Submit'}
        </button>
      </p>
    </form>
  );

  function propsOf(field: Field) {
    return {
      id: idOf(fields, field),
      field,
      value: values.get(field.name) ?? field.initial,
      error: errors.get(field.name),
      isDisabled: isBusy,
      onChange: (value: Value) => change(field, value),
    };
  }
}

function checkAll(fields: readonly Field[], values: ReadonlyMap<string, Value>): Map<string, string> {
  const wrong = fields.flatMap((field): [string, string][] => {
    const why = isUnreadable(idOf(fields, field))
      ? 'This is not a number.'
      : checkField(field, values.get(field.name) ?? '');
    return why === undefined ? [] : [[field.name, why]];
  });
  return new Map([...doubleNames(fields, values), ...wrong]);
}

/** A browser shows what cannot be read as a number, and says that the field is empty. */
function isUnreadable(id: string): boolean {
  const control = document.getElementById(id);
  return control instanceof HTMLInputElement && control.validity.badInput;
}

function focusFirst(fields: readonly Field[], wrong: ReadonlyMap<string, string>): void {
  const first = fields.find(({ name }) => wrong.has(name));
  if (first) document.getElementById(idOf(fields, first))?.focus();
}

/** Names of parameters may hold anything; ids do not. */
function idOf(fields: readonly Field[], field: Field): string {
  return `field-${fields.indexOf(field)}`;
}

function isParameter(field: Field): boolean {
  return field !== NAME && field !== CONTACT;
}

function textField(name: string, label: string, help: string, maxLength: number): Field {
  return {
    name,
    label: `${label} (optional)`,
    help,
    isRequired: false,
    isEmptyList: false,
    kind: { kind: 'text', isLong: false, inputType: 'text', minLength: undefined, maxLength, pattern: undefined },
    initial: '',
  };
}

/** Asks before a page is left that is sending. */
function useStay(isNeeded: () => boolean): void {
  useEffect(() => {
    const stay = (event: Event): void => {
      if (isNeeded()) event.preventDefault();
    };
    addEventListener('beforeunload', stay);
    return () => removeEventListener('beforeunload', stay);
  }, []);
}

/** A form that browsers kept as it was when its job was added is a new one. A file dropped beside its field opens nothing. */
function useFreshAfterReturn(): void {
  useEffect(() => {
    const onShow = (event: PageTransitionEvent): void => {
      if (event.persisted) location.reload();
    };
    const keepOut = (event: Event): void => event.preventDefault();
    addEventListener('pageshow', onShow);
    for (const name of ['dragover', 'drop']) addEventListener(name, keepOut);
    return () => {
      removeEventListener('pageshow', onShow);
      for (const name of ['dragover', 'drop']) removeEventListener(name, keepOut);
    };
  }, []);
}
