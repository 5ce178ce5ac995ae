import AjvCompiler from '@fastify/ajv-compiler';
import type { FastifySchemaCompiler } from 'fastify';

/** What a validator says: true, or false with its complaints. */
type Validator = ((data: unknown) => unknown) & { errors?: unknown };

/**
 * Validation as Fastify has it, but each schema is compiled when the first request needs it: all of them at once take
 * 20 MB, and most servers see a handful. Nothing is converted or removed: what is not as it should be is refused.
 */
export function lazyValidation(): FastifySchemaCompiler<unknown> {
  const options = {
    customOptions: { removeAdditional: false, coerceTypes: false, allErrors: false, verbose: true, strict: false },
  };
  let compiler: ((route: object) => Validator) | undefined;
  return (route) => {
    let compiled: Validator | undefined;
    return (data: unknown) => {
      compiler ??= AjvCompiler()({}, options as never) as unknown as (route: object) => Validator;
      compiled ??= compiler(route);
      if (compiled(data)) return { value: data };
      return { error: compiled.errors as unknown as Error };
    };
  };
}
