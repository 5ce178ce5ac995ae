import { PilotageError } from '../../ground/base/errors.ts';
import { parseTarget } from '../../ground/base/task-id.ts';
import type { Selection } from '../../ground/protocol/task.ts';
import { defined } from './defined.ts';

export interface SelectionOptions {
  readonly all?: boolean;
  readonly project?: string;
}

interface Choice {
  readonly all: boolean | undefined;
  readonly project: string | undefined;
  /** How the person says that they mean all. */
  readonly flag: string;
}

/** Either what is named or all: both at once is a mistake, neither too. */
export function toSelection(ids: readonly string[], { all, project, flag }: Choice): Selection {
  if (ids.length > 0 && all) throw new PilotageError('bad-request', `name tasks, or give ${flag}: not both`);
  if (ids.length > 0 && project !== undefined)
    throw new PilotageError('bad-request', `--project goes with ${flag}: tasks that are named need no project`);
  if (ids.length === 0 && !all)
    throw new PilotageError('bad-request', `which tasks? Name tasks or submissions ('12.3', '12'), or give ${flag}`);
  if (ids.length === 0) return { all: true, ...defined({ project }) };
  const targets = ids.flatMap((id) => id.split(',')).filter((id) => id !== '');
  for (const target of targets) parseTarget(target);
  return { targets };
}
