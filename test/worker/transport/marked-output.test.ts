import { expect, test } from 'vitest';
import { commandLine, newMarks } from '../../../src/worker/transport/command-line.ts';
import { markedOutput } from '../../../src/worker/transport/marked-output.ts';
import { quote } from '../../../src/worker/transport/quote.ts';

test.each([1, 2, 3, 7, 40, 1000])(
  'a script’s output is found in what is printed, in whatever pieces of %i bytes it comes',
  async (size) => {
    const [first, second] = [newMarks(), newMarks()];
    let [output, noise] = ['', ''];
    const events: string[] = [];
    const found = markedOutput({
      begun: (id) => void events.push(`begun ${id}`),
      bytes: async (piece) => {
        output += piece.toString('latin1');
      },
      ended: (exitCode) => {
        events.push(`ended ${exitCode}`);
        if (events.length === 2) found.expect(second);
      },
      noise: (piece) => {
        noise += piece.toString('latin1');
      },
    });
    found.expect(first);
    const almost = first.end.slice(0, -2);
    const printed = Buffer.from(
      `WELCOME${first.begin}12;one ${almost} ${almost}\n${first.end}3;logout\n${second.begin}13;two;${first.end}0;${second.end}255;bye`,
      'latin1',
    );
    for (let at = 0; at < printed.length; at += size) await found.take(printed.subarray(at, at + size));
    expect(events).toEqual(['begun 12', 'ended 3', 'begun 13', 'ended 255']);
    expect(output).toBe(`one ${almost} ${almost}\ntwo;${first.end}0;`);
    expect(noise).toBe('WELCOMElogout\nbye');
  },
);

test('a script is one line whatever is in it, and too long a one is refused', () => {
  const line = commandLine(`a\nb'c\\d\r"`, newMarks(), Buffer.from('\n\0'));
  expect(line.indexOf('\n')).toBe(line.length - 1);
  expect(() => commandLine('x'.repeat(200_000), newMarks(), 'rest')).toThrow(/longer than 120 KiB/);
});

test('quoted text is one word, and a zero byte is refused', () => {
  expect(quote("it's $(x)")).toBe(`'it'\\''s $(x)'`);
  expect(quote('')).toBe("''");
  expect(() => quote('a\0b')).toThrow(/zero byte/);
});
