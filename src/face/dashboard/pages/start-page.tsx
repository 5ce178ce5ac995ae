import type { ServiceView } from '../../../ground/protocol/service.ts';
import { queueAddress, submitAddress } from '../base/address.ts';
import { ask } from '../base/api.ts';
import { formatCount } from '../base/format.ts';
import { STATE_WORDS, STATES } from '../base/life.ts';
import { useLive } from '../base/use-live.ts';
import { Layout } from '../parts/layout.tsx';
import { Silence } from '../parts/notice.tsx';
import { type Session, SignIn, useSession } from '../parts/sign-in.tsx';

export function StartPage() {
  const session = useSession();
  return (
    <Layout title="Pilotage" tabTitle="Start" onSignOut={session.token === undefined ? undefined : session.signOut}>
      <p>
        This server keeps and runs a group's computations. Services are kinds of jobs that are ready to use: you give
        files and parameters, they are computed, and you fetch the results.
      </p>
      {session.token === undefined ? (
        <SignIn session={session} />
      ) : (
        <Services session={session} token={session.token} />
      )}
    </Layout>
  );
}

const REFRESH_SECONDS = 15;

function Services({ session, token }: { readonly session: Session; readonly token: string }) {
  const { value, refusal, silentFor, lookNow } = useLive({
    look: servicesOf,
    pace: () => REFRESH_SECONDS,
    key: token,
  });
  if (refusal?.status === 403)
    return (
      <>
        <p>
          Your token opens the pages of services and no lists. Use the link to the service that you were given, or sign
          in with another token.
        </p>
        <SignIn session={session} />
      </>
    );
  if (refusal) return <SignIn session={session} refusal={refusal} />;
  return (
    <>
      <Silence seconds={silentFor} onTry={lookNow} />
      <h2>Services</h2>
      {value === undefined ? <p>Looking…</p> : <ServiceList services={value} />}
    </>
  );
}

async function servicesOf(signal: AbortSignal): Promise<ServiceView[]> {
  const projects = await ask('projects', { signal });
  const lists = await Promise.all(
    projects.map(({ name: project }) => ask('services', { params: { project }, signal })),
  );
  return lists.flat();
}

function ServiceList({ services }: { readonly services: readonly ServiceView[] }) {
  if (services.length === 0)
    return (
      <p>
        There are none yet. <code>pilotage service new NAME</code> writes one.
      </p>
    );
  return (
    <ul class="cards">
      {services.map((service) => (
        <li class="card" key={`${service.project} ${service.name}`}>
          <h3>{service.title ?? service.name}</h3>
          <p class="help">
            {service.name} in the project {service.project} ·{' '}
            {service.host === null ? 'its host is away: jobs wait until it is back' : 'takes jobs up now'}
          </p>
          <p>{countsText(service.counts)}</p>
          <p class="actions">
            <a class="button" href={submitAddress(service.project, service.name)}>
              Add a job
            </a>{' '}
            <a href={queueAddress(service.project, service.name)}>Queue</a>
          </p>
        </li>
      ))}
    </ul>
  );
}

function countsText(counts: Readonly<Record<string, number>>): string {
  const parts = STATES.flatMap((state) =>
    counts[state] ? [`${counts[state].toLocaleString()} ${STATE_WORDS[state]}`] : [],
  );
  const all = Object.values(counts).reduce((sum, count) => sum + count, 0);
  return all === 0 ? 'No jobs yet.' : `${formatCount(all, 'job')}: ${parts.join(', ')}`;
}
