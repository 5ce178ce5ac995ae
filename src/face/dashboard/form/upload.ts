import type { ServiceJobReply } from '../../../ground/protocol/service.ts';
import { addressOf, headers, NoAnswer, toError } from '../base/api.ts';
import type { Entry } from './form-entries.ts';

export interface Sent {
  readonly sentBytes: number;
  readonly allBytes: number;
}

export interface Upload {
  /** Rejects with `Refused`, with `NoAnswer` when the connection broke, and with an `AbortError` when it was cancelled. */
  readonly done: Promise<ServiceJobReply>;
  cancel(): void;
}

/** Sends a form with its files in one request. `fetch` does not tell how far an upload is; this does. */
export function upload(
  params: { readonly project: string; readonly service: string },
  entries: readonly Entry[],
  tell: (sent: Sent) => void,
): Upload {
  const { promise, resolve, reject } = Promise.withResolvers<ServiceJobReply>();
  const request = new XMLHttpRequest();
  request.open('POST', addressOf('createServiceJob', { params }));
  for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
  request.upload.addEventListener('progress', ({ loaded, total }) => tell({ sentBytes: loaded, allBytes: total }));
  request.addEventListener('load', () => {
    if (request.status >= 200 && request.status < 300) resolve(JSON.parse(request.responseText));
    else reject(toError(request.status, request.responseText));
  });
  request.addEventListener('error', () => reject(new NoAnswer()));
  request.addEventListener('abort', () => reject(new DOMException('cancelled', 'AbortError')));
  request.send(toFormData(entries));
  return { done: promise, cancel: () => request.abort() };
}

function toFormData(entries: readonly Entry[]): FormData {
  const form = new FormData();
  for (const [name, value] of entries) {
    if (typeof value === 'string') form.append(name, value);
    else form.append(name, value, value.name);
  }
  return form;
}
