/** Times and numbers for people, in the words of their browser. */

export { formatSize } from '../../../ground/base/size.ts';

export function formatTime(time: string, locale?: string, timeZone?: string): string {
  return new Date(time).toLocaleString(locale, {
    dateStyle: 'medium',
    timeStyle: 'short',
    ...(timeZone === undefined ? {} : { timeZone }),
  });
}

export function formatPercent(fraction: number): string {
  return `${Math.floor(Math.min(1, Math.max(0, fraction)) * 100)} %`;
}

export function formatCount(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString()} ${count === 1 ? one : many}`;
}

/** A parameter's value as text: what is text as it is, all else as JSON. */
export function formatValue(value: unknown): string {
  if (typeof value === 'string') return value;
  if (Array.isArray(value) && value.every((one) => typeof one === 'string' || typeof one === 'number'))
    return value.join('\n');
  return JSON.stringify(value, null, 2) ?? '';
}
