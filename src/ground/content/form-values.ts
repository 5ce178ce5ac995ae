/** Values of a form or of a command line are texts; the schema of a service's parameters says what they are meant as. */
import { PilotageError } from '../base/errors.ts';

/** As much of a JSON schema as is looked at. */
export interface ValueSchema {
  readonly type?: unknown;
  readonly items?: ValueSchema;
  readonly enum?: readonly unknown[];
}

/**
 * What somebody means who gives these texts for the parameter `name`; undefined: nothing, as an empty field of a form
 * does for all but texts. What the schema does not decide is JSON if it reads as such. The value is not checked here.
 */
export function readValue(name: string, schema: ValueSchema | undefined, texts: readonly string[]): unknown {
  if (schema?.type === 'array') return listOf(name, schema.items, texts);
  const [text] = texts;
  if (text === undefined) return undefined;
  if (texts.length > 1)
    throw new PilotageError('bad-request', `'${name}' was given ${texts.length} times, and takes one value`);
  return oneValue(schema, text);
}

/** One text may hold the whole list, as JSON. */
function listOf(name: string, items: ValueSchema | undefined, texts: readonly string[]): unknown {
  const [only] = texts;
  if (texts.length === 1 && only?.trim().startsWith('[')) {
    try {
      return JSON.parse(only);
    } catch (error) {
      if (items?.type !== 'string')
        throw new PilotageError('bad-request', `'${name}' is no list as JSON: ${(error as Error).message}`);
    }
  }
  return texts.filter((text) => text !== '').map((text) => oneValue(items, text));
}

function oneValue(schema: ValueSchema | undefined, text: string): unknown {
  if (schema?.type === 'string' || schema?.enum?.includes(text)) return text;
  if (text === '') return undefined;
  if (schema?.type === 'boolean' && (text === 'on' || text === 'off')) return text === 'on';
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
