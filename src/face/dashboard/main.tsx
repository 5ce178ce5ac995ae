import { render } from 'preact';
import { placeOf } from './base/address.ts';
import { takeTokenFromAddress, tokenIn } from './base/session.ts';
import { JobPage } from './pages/job-page.tsx';
import { NowherePage } from './pages/nowhere-page.tsx';
import { QueuePage } from './pages/queue-page.tsx';
import { StartPage } from './pages/start-page.tsx';
import { SubmitPage } from './pages/submit-page.tsx';

takeTokenFromAddress();
// A link with another token that is pasted into an open page loads nothing by itself.
addEventListener('hashchange', () => {
  if (tokenIn(location.hash) === undefined) return;
  takeTokenFromAddress();
  location.reload();
});
const root = document.getElementById('page');
if (root) render(<Page />, root);

function Page() {
  const place = placeOf(location.pathname);
  switch (place.page) {
    case 'start':
      return <StartPage />;
    case 'submit':
      return <SubmitPage project={place.project} service={place.service} />;
    case 'queue':
      return <QueuePage project={place.project} service={place.service} />;
    case 'job':
      return <JobPage link={place} />;
    case 'nowhere':
      return <NowherePage />;
  }
}
