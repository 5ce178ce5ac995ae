import type { Invocation } from '../invocation.ts';
import { type Progress, startProgress } from './progress.ts';

/** Acts, and shows how many files of how many were copied, from the first one on. */
export async function withFileProgress<T>(
  invocation: Invocation,
  act: (onProgress: (done: { files: number }, total: number) => void) => Promise<T>,
): Promise<T> {
  let bar: Progress | undefined;
  let making: Promise<void> | undefined;
  const onProgress = ({ files }: { files: number }, total: number): void => {
    making ??= startProgress(invocation, 'copying files', total).then((made) => {
      bar = made;
    });
    bar?.update(files);
  };
  try {
    return await act(onProgress);
  } finally {
    await making;
    bar?.stop();
  }
}
