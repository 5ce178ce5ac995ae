import { useState } from 'preact/hooks';
import type { Refused } from '../base/api.ts';
import { currentToken, forgetToken, keepToken } from '../base/session.ts';
import { Notice } from './notice.tsx';

export interface Session {
  readonly token: string | undefined;
  readonly signIn: (token: string) => void;
  readonly signOut: () => void;
}

export function useSession(): Session {
  const [token, setToken] = useState(currentToken);
  return {
    token,
    signIn: (given) => {
      keepToken(given);
      setToken(given);
    },
    signOut: () => {
      forgetToken();
      setToken(undefined);
    },
  };
}

/** Asks for the token; says why it is asked for again. */
export function SignIn({ session, refusal }: { readonly session: Session; readonly refusal?: Refused | undefined }) {
  const [text, setText] = useState('');
  const [isMissing, setMissing] = useState(false);
  const submit = (event: Event): void => {
    event.preventDefault();
    const token = text.trim();
    setMissing(token === '');
    if (token === '') document.getElementById('token')?.focus();
    else session.signIn(token);
  };
  return (
    <>
      {refusal && <WhyNot refusal={refusal} />}
      <form class="card narrow" onSubmit={submit} noValidate>
        <h2>Sign in</h2>
        <p id="token-help" class="help">
          The token that you were given. It is kept in this tab only, until you close it or sign out. If you were sent a
          link to this page, open that link: it holds the token.
        </p>
        <div class="field">
          <label for="token">Token</label>
          <input
            id="token"
            type="password"
            autocomplete="off"
            spellcheck={false}
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
            aria-describedby={isMissing ? 'token-help token-error' : 'token-help'}
            aria-invalid={isMissing}
          />
          {isMissing && (
            <p class="error" id="token-error">
              Enter the token.
            </p>
          )}
        </div>
        <button type="submit" class="primary">
          Sign in
        </button>
      </form>
    </>
  );
}

function WhyNot({ refusal }: { readonly refusal: Refused }) {
  if (refusal.status === 401)
    return (
      <Notice tone="bad" isUrgent>
        <p>This token is not good, or not any more: it may have expired or been revoked.</p>
        <p class="help">{refusal.message}</p>
        <p>Ask those who gave it to you for a new one, or use another.</p>
      </Notice>
    );
  return (
    <Notice tone="bad" isUrgent>
      <p>{refusal.status === 403 ? 'This token may not do that.' : 'The server refused.'}</p>
      <p class="help">{refusal.message}</p>
    </Notice>
  );
}
