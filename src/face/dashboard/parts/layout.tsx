import type { ComponentChildren } from 'preact';
import { useEffect } from 'preact/hooks';
import { queueAddress, START, submitAddress } from '../base/address.ts';

interface LayoutProps {
  readonly title: string;
  /** What the tab is called, when it is more than the heading. */
  readonly tabTitle?: string;
  readonly service?: { readonly project: string; readonly service: string };
  readonly here?: 'submit' | 'queue';
  readonly onSignOut?: (() => void) | undefined;
  readonly children: ComponentChildren;
}

/** What all pages have: a way past the head, where one is, and the way out. */
export function Layout({ title, tabTitle, service, here, onSignOut, children }: LayoutProps) {
  useEffect(() => {
    document.title = `${tabTitle ?? title} · Pilotage`;
  }, [title, tabTitle]);
  return (
    <>
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <header class="head">
        <a class="brand" href={START}>
          Pilotage
        </a>
        {service && <ServiceLinks {...service} here={here} />}
        {onSignOut && (
          <button type="button" class="plain out" onClick={onSignOut}>
            Sign out
          </button>
        )}
      </header>
      <main id="main" tabIndex={-1}>
        <h1>{title}</h1>
        {children}
      </main>
    </>
  );
}

interface ServiceLinksProps {
  readonly project: string;
  readonly service: string;
  readonly here: 'submit' | 'queue' | undefined;
}

function ServiceLinks({ project, service, here }: ServiceLinksProps) {
  return (
    <nav aria-label="This service">
      <a href={submitAddress(project, service)} aria-current={here === 'submit' ? 'page' : undefined}>
        Add a job
      </a>
      <a href={queueAddress(project, service)} aria-current={here === 'queue' ? 'page' : undefined}>
        Queue
      </a>
    </nav>
  );
}
