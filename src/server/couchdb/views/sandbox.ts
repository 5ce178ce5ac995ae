/**
 * JavaScript that nobody vouches for, in QuickJS, an interpreter in WebAssembly: it sees neither files nor network nor
 * this program, and memory, stack and time are bounded. Every sandbox has a WebAssembly memory of its own, because such a
 * memory never shrinks: a sandbox that was filled up is dropped whole.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import variant from '@jitl/quickjs-wasmfile-release-sync';
import {
  newQuickJSWASMModuleFromVariant,
  newVariant,
  type QuickJSContext,
  type QuickJSHandle,
  type QuickJSSyncVariant,
} from 'quickjs-emscripten-core';
import { messageOf } from '../../../ground/base/errors.ts';
import type { ViewLimits } from './limits.ts';
import { SANDBOX_PROGRAM } from './sandbox-program.ts';

/** Why a function did not come to its end. All but 'thrown' leave a sandbox that must not be used any more. */
export type Failure = 'thrown' | 'time' | 'memory' | 'output' | 'crash';

export class SandboxFailure extends Error {
  readonly failure: Failure;

  constructor(failure: Failure, message: string) {
    super(message);
    this.failure = failure;
  }
}

export interface Sandbox {
  /** Throws a failure 'thrown' with the place when the text is not one function. `number` comes back with its rows. */
  addMap(number: number, name: string, source: string): void;
  addReduce(name: string, source: string): void;
  /** The lines that SANDBOX_PROGRAM tells of. */
  map(document: string): string;
  reduce(name: string, keys: string, values: string, rereduce: boolean): string;
  test(pattern: string, text: string): boolean;
  /** True when something was left to be done later, which never happens here: it would pile up. */
  readonly hasLeftovers: boolean;
}

/** Told at the begin and the end of every call, so that someone may watch from outside. */
export type Watch = { enter(): void; leave(): void };

interface WasmMemory {
  readonly buffer: ArrayBuffer;
}

/** Node.js has it; the types of this project, which leave out the browser's, do not. */
const { WebAssembly } = globalThis as unknown as {
  WebAssembly: {
    compile(bytes: Uint8Array): Promise<object>;
    Memory: new (pages: { initial: number; maximum: number }) => WasmMemory;
  };
};
const PAGE_BYTES = 65_536;
/** What the interpreter asks for at its start. */
const FIRST_PAGES = 256;
/**
 * Memory grows by a twentieth at least, and never shrinks: above this it was asked for more than there is. QuickJS may
 * then be left without the memory for an error that says so, and throws null.
 */
const FULL = 0.9;
let compiled: Promise<object> | undefined;

/** Compiled once: a further interpreter is ready in a few milliseconds. */
function compiledInterpreter(): Promise<object> {
  const file = createRequire(import.meta.url).resolve('@jitl/quickjs-wasmfile-release-sync/wasm');
  compiled ??= WebAssembly.compile(readFileSync(file));
  return compiled;
}

/**
 * The memory is bounded from outside: QuickJS's own limit counts how often memory is asked for in WebAssembly, not how
 * much (its malloc_usable_size is always 0 there), and lets a function have 2 GB.
 */
function newMemory(bytes: number): WasmMemory {
  const maximum = Math.max(FIRST_PAGES, Math.ceil(bytes / PAGE_BYTES));
  return new WebAssembly.Memory({ initial: FIRST_PAGES, maximum });
}

export async function openSandbox(lib: unknown, limits: ViewLimits, watch: Watch): Promise<Sandbox> {
  const memory = newMemory(limits.memoryBytes);
  const own = newVariant(variant as unknown as QuickJSSyncVariant, {
    wasmModule: await compiledInterpreter(),
    wasmMemory: memory,
  });
  const quickjs = await newQuickJSWASMModuleFromVariant(own as QuickJSSyncVariant);
  const runtime = quickjs.newRuntime({ maxStackSizeBytes: limits.stackBytes });
  const clock = { interrupts: 0, until: 0 };
  runtime.setInterruptHandler(() => ++clock.interrupts > limits.interruptsPerCall || performance.now() > clock.until);
  const context = runtime.newContext();
  const guarded = <T>(run: () => T): T => {
    clock.interrupts = 0;
    clock.until = performance.now() + limits.wallMsPerCall;
    watch.enter();
    try {
      return run();
    } finally {
      watch.leave();
    }
  };
  const program = guarded(() => startProgram(context, lib, limits));
  const call = (name: string, ...texts: readonly string[]): string =>
    guarded(() => callText(context, { program, name }, texts));
  const add = (method: string, first: QuickJSHandle, name: string, source: string): void => {
    try {
      const compiled = guarded(() => compile(context, name, source));
      context.unwrapResult(context.callMethod(program, method, [first, compiled])).dispose();
      compiled.dispose();
    } catch (error) {
      throw error instanceof SandboxFailure ? error : new SandboxFailure('crash', messageOf(error));
    }
  };
  return {
    addMap: (number, name, source) => add('addMap', context.newNumber(number), `map of ${name}`, source),
    addReduce: (name, source) => add('addReduce', context.newString(name), `reduce of ${name}`, source),
    map: (document) => {
      try {
        const lines = call('map', document);
        if (memory.buffer.byteLength < FULL * limits.memoryBytes) return lines;
        throw new SandboxFailure('memory', 'out of memory');
      } catch (error) {
        throw error instanceof SandboxFailure && error.failure === 'time'
          ? outputFailure(call('overflow'), error)
          : error;
      }
    },
    reduce: (name, keys, values, rereduce) => call('reduce', name, keys, values, String(rereduce)),
    test: (pattern, text) => call('test', pattern, text) === 'true',
    get hasLeftovers() {
      return runtime.hasPendingJob();
    },
  };
}

function outputFailure(overflow: string, otherwise: SandboxFailure): SandboxFailure {
  return overflow === '' ? otherwise : new SandboxFailure('output', overflow);
}

function startProgram(context: QuickJSContext, lib: unknown, limits: ViewLimits): QuickJSHandle {
  const library = JSON.stringify(lib ?? {}).replaceAll('\u2028', '\\u2028');
  const source = `${SANDBOX_PROGRAM}(${library}, ${limits.rowsPerDocument}, ${limits.charactersPerDocument})`;
  return context.unwrapResult(context.evalCode(source, 'pilotage'));
}

/**
 * Functions come as people write them: with a name or an arrow, a semicolon and remarks behind. As the value of an
 * assignment a function may have all of these.
 */
function compile(context: QuickJSContext, name: string, source: string): QuickJSHandle {
  const direct = context.evalCode(`(${source}\n)`, name);
  if (!direct.error && context.typeof(direct.value) === 'function') return direct.value;
  direct.dispose();
  const assigned = context.evalCode(`globalThis.$function = ${source}\n;globalThis.$function`, name);
  if (assigned.error) throw toFailure(context, assigned.error);
  if (context.typeof(assigned.value) === 'function') return assigned.value;
  assigned.value.dispose();
  throw new SandboxFailure('thrown', 'the text is not a function: write function (doc) { … }');
}

function callText(
  context: QuickJSContext,
  { program, name }: { program: QuickJSHandle; name: string },
  texts: readonly string[],
): string {
  const handles: QuickJSHandle[] = [];
  try {
    for (const text of texts) handles.push(context.newString(text));
    const result = context.callMethod(program, name, handles);
    if (result.error) throw toFailure(context, result.error);
    handles.push(result.value);
    return context.getString(result.value);
  } catch (error) {
    if (error instanceof SandboxFailure) throw error;
    throw new SandboxFailure('crash', messageOf(error));
  } finally {
    for (const handle of handles) handle.dispose();
  }
}

interface Thrown {
  readonly name?: string;
  readonly message?: string;
  readonly fileName?: string;
  readonly lineNumber?: number;
  readonly stack?: string | null;
}

function toFailure(context: QuickJSContext, handle: QuickJSHandle): SandboxFailure {
  const thrown: unknown = context.dump(handle);
  handle.dispose();
  if (typeof thrown !== 'object' || thrown === null) return new SandboxFailure('thrown', String(thrown));
  const { name, message = '', lineNumber, stack } = thrown as Thrown;
  if (name === 'InternalError' && message === 'interrupted') return new SandboxFailure('time', message);
  if (name === 'InternalError' && message === 'out of memory') return new SandboxFailure('memory', message);
  if (message.startsWith('too much: ')) return new SandboxFailure('output', message.slice('too much: '.length));
  const place = lineNumber === undefined ? (stack?.trim().split('\n')[0] ?? '') : `in line ${lineNumber}`;
  return new SandboxFailure('thrown', `${name ?? 'Error'}: ${message} ${place}`.trim());
}
