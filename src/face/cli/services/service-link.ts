import { calls } from '../calls.ts';
import { defined } from '../defined.ts';
import { EXIT } from '../exit-codes.ts';
import type { Invocation } from '../invocation.ts';

export interface LinkOptions {
  readonly project?: string;
  readonly expires?: number;
}

/**
 * The address that a group publishes for its service, with a token of its own behind `#`, which browsers keep to
 * themselves. Whoever has it adds jobs to the project's services, and nothing else.
 */
export async function publishLink(
  invocation: Invocation,
  { project = invocation.context.env.PILOTAGE_PROJECT || 'default', expires }: LinkOptions,
  service: string,
): Promise<number> {
  const client = invocation.client();
  // First: a token for a service that there is not would be of no use.
  const { url } = await client.call(calls.service, { params: { project, service } });
  const { id, token, expiresAt } = await client.call(calls.createToken, {
    body: {
      name: `front-${service}`,
      scopes: ['front'],
      projects: [project],
      ...defined({ expiresInSeconds: expires }),
    },
  });
  const link = `${url}#${token}`;
  await invocation.print({ service, project, link, token: id, expiresAt }, () => link);
  if (!invocation.json)
    await invocation.say(
      `whoever has this link may add jobs to the services of '${project}', and nothing else; 'pilotage token revoke ${id}' ends that`,
    );
  return EXIT.done;
}
