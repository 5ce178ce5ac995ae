type LogCall = (facts: object, text: string) => void;

export interface LoggedLine {
  readonly level: string;
  readonly text: string;
  readonly facts: object;
}

/** A log that remembers. */
export function memoryLog(): { lines: LoggedLine[]; debug: LogCall; info: LogCall; warn: LogCall; error: LogCall } {
  const lines: LoggedLine[] = [];
  const at =
    (level: string): LogCall =>
    (facts, text) =>
      void lines.push({ level, text, facts });
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}
