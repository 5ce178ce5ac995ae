import type { ServiceForm } from '../../../ground/protocol/service.ts';
import type { OfService } from '../base/address.ts';
import { ask } from '../base/api.ts';
import { useLive } from '../base/use-live.ts';
import { Layout } from '../parts/layout.tsx';
import { Notice, Silence } from '../parts/notice.tsx';
import { type Session, SignIn, useSession } from '../parts/sign-in.tsx';
import { JobForm } from './job-form.tsx';

export function SubmitPage(params: OfService) {
  const session = useSession();
  const { value, refusal, silentFor, lookNow } = useLive({
    look: async (signal) =>
      session.token === undefined ? undefined : { form: await ask('serviceForm', { params, signal }) },
    pace: () => null,
    key: session.token ?? '',
  });
  const form = value?.form;
  return (
    <Layout
      title={form?.title ?? params.service}
      tabTitle={`Add a job · ${form?.title ?? params.service}`}
      service={params}
      here="submit"
      onSignOut={session.token === undefined ? undefined : session.signOut}
    >
      <Silence seconds={silentFor} onTry={lookNow} />
      <Content params={params} session={session} form={form} refusal={refusal} />
    </Layout>
  );
}

interface ContentProps {
  readonly params: OfService;
  readonly session: Session;
  readonly form: ServiceForm | undefined;
  readonly refusal: ReturnType<typeof useLive>['refusal'];
}

function Content({ params, session, form, refusal }: ContentProps) {
  if (session.token === undefined) return <SignIn session={session} />;
  if (refusal) return <SignIn session={session} refusal={refusal} />;
  if (form === undefined) return <p>Looking…</p>;
  return (
    <>
      {!form.hosted && (
        <Notice tone="calm">
          <p>Nobody takes up jobs of this service at the moment. You can add one: it waits until its host is back.</p>
        </Notice>
      )}
      <JobForm params={params} form={form} />
    </>
  );
}
