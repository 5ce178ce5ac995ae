import { useState } from 'preact/hooks';
import { formatCount, formatSize } from '../base/format.ts';
import type { FieldKind } from '../form/fields.ts';
import type { FieldInputProps } from './field-input.tsx';

interface FileFieldProps extends Omit<FieldInputProps, 'field' | 'value' | 'onChange'> {
  readonly labelId: string;
  readonly kind: Extract<FieldKind, { kind: 'files' }>;
  readonly files: readonly File[];
  readonly onChange: (files: readonly File[]) => void;
}

/** Choosing by button or by dropping; what was chosen is listed, and each can be taken out again. */
export function FileField({ id, labelId, kind, files, onChange, describedBy, isInvalid, isDisabled }: FileFieldProps) {
  const [isOver, setOver] = useState(false);
  const { isList, accept, maxBytes } = kind.parameter;
  const add = (chosen: FileList | null | undefined): void => {
    const added = [...(chosen ?? [])];
    if (added.length === 0 || isDisabled) return;
    onChange(isList ? [...files, ...added] : added.slice(-1));
  };
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: dropping is a second way; the button is the first
    <div
      class={`drop${isOver ? ' over' : ''}`}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        add(event.dataTransfer?.files);
      }}
    >
      <input
        id={id}
        class="covered"
        type="file"
        multiple={isList}
        accept={accept.join(',')}
        disabled={isDisabled}
        aria-labelledby={`${labelId} ${id}-choose`}
        aria-describedby={describedBy}
        aria-invalid={isInvalid}
        onChange={(event) => {
          add(event.currentTarget.files);
          // The same file may be chosen again after it was taken out.
          event.currentTarget.value = '';
        }}
      />
      <label class="button" for={id} id={`${id}-choose`}>
        {chooseText(isList, files.length)}
      </label>{' '}
      <span class="help">
        <span class="by-mouse">or drop {isList ? 'them' : 'it'} here · </span>
        {accept.length > 0 && `${accept.join(', ')} · `}up to {formatSize(maxBytes)}
        {isList && ' each'}
      </span>
      <p class="visually-hidden" role="status">
        {files.length > 0 && `${formatCount(files.length, 'file')} chosen`}
      </p>
      {files.length > 0 && (
        <ul class="files">
          {files.map((file, at) => (
            <ChosenFile
              key={`${file.name} ${file.size} ${file.lastModified}`}
              file={file}
              isDisabled={isDisabled}
              onRemove={() => {
                onChange(files.filter((_, other) => other !== at));
                document.getElementById(id)?.focus();
              }}
            />
          ))}
        </ul>
      )}
    </div>
  );
}

function chooseText(isList: boolean, count: number): string {
  if (isList) return count === 0 ? 'Choose files…' : 'Add files…';
  return count === 0 ? 'Choose a file…' : 'Choose another…';
}

interface ChosenFileProps {
  readonly file: File;
  readonly isDisabled: boolean;
  readonly onRemove: () => void;
}

function ChosenFile({ file, isDisabled, onRemove }: ChosenFileProps) {
  return (
    <li>
      <span class="name">{file.name}</span>
      <span class="size">{formatSize(file.size)}</span>
      <button type="button" class="plain" disabled={isDisabled} aria-label={`Remove ${file.name}`} onClick={onRemove}>
        Remove
      </button>
    </li>
  );
}
