import type { Shape } from '../core/shape.ts';

/** What a task asks for, for a person. */
export function describe(shape: Shape): string {
  const asked = [`${shape.cpus} cpu${shape.cpus === 1 ? '' : 's'}`];
  if (shape.memory > 0) asked.push(`${shape.memory} bytes of memory`);
  if (shape.gpus > 0) asked.push(`${shape.gpus} gpu${shape.gpus === 1 ? '' : 's'}`);
  for (const [name, count] of Object.entries(shape.named)) asked.push(`${count} ${name}`);
  for (const [name, value] of Object.entries(shape.labels)) asked.push(`${name}=${value}`);
  if (shape.timeRequestSeconds > 0) asked.push(`${shape.timeRequestSeconds} s of time`);
  return asked.join(', ');
}
