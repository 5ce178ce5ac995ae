import { useState } from 'preact/hooks';
import type { Refused } from '../base/api.ts';
import { logIn, logOut } from '../base/login.ts';
import { currentToken, forgetToken, isLogin, keepToken } from '../base/session.ts';
import { Notice } from './notice.tsx';

export interface Session {
  readonly token: string | undefined;
  readonly signIn: (token: string, isLogin?: boolean) => void;
  readonly signOut: () => void;
}

export function useSession(): Session {
  const [token, setToken] = useState(currentToken);
  return {
    token,
    signIn: (given, isOfLogin) => {
      keepToken(given, isOfLogin);
      setToken(given);
    },
    signOut: () => {
      // The request takes the token along before it is forgotten.
      if (isLogin()) void logOut();
      forgetToken();
      setToken(undefined);
    },
  };
}

const NOTHING = { name: '', password: '', token: '' };
type Given = typeof NOTHING;

/** Asks for name and password, or a token; says why they are asked for again. */
export function SignIn({ session, refusal }: { readonly session: Session; readonly refusal?: Refused | undefined }) {
  const [given, setGiven] = useState(NOTHING);
  const [why, setWhy] = useState<string>();
  const [isBusy, setBusy] = useState(false);
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    const name = given.name.trim();
    const token = given.token.trim();
    setWhy(undefined);
    if (token !== '') return session.signIn(token);
    if (name === '' || given.password === '') {
      setWhy('Enter your name and password, or a token.');
      document.getElementById(name === '' ? 'name' : 'password')?.focus();
      return;
    }
    setBusy(true);
    const answer = await logIn(name, given.password);
    setBusy(false);
    if ('why' in answer) setWhy(answer.why);
    else session.signIn(answer.token, true);
  };
  const field = (key: keyof Given, label: string) => (
    <Field
      id={key}
      label={label}
      value={given[key]}
      isWrong={why !== undefined}
      onInput={(value) => setGiven((before) => ({ ...before, [key]: value }))}
    />
  );
  return (
    <>
      {refusal && <WhyNot refusal={refusal} />}
      <form class="card narrow" onSubmit={(event) => void submit(event)} noValidate>
        <h2>Sign in</h2>
        {field('name', 'Name')}
        {field('password', 'Password')}
        <p id="sign-in-help" class="help">
          Or with a token that you were given. What you enter is kept in this tab only, until you close it or sign out.
          If you were sent a link to this page, open that link: it holds the token.
        </p>
        {field('token', 'Token')}
        {why && (
          <p class="error" id="sign-in-error" role="alert">
            {why}
          </p>
        )}
        <button type="submit" class="primary" disabled={isBusy}>
          Sign in
        </button>
      </form>
    </>
  );
}

interface FieldProps {
  readonly id: keyof Given;
  readonly label: string;
  readonly value: string;
  readonly isWrong: boolean;
  readonly onInput: (value: string) => void;
}

const COMPLETED = { name: 'username', password: 'current-password', token: 'off' } as const;

function Field({ id, label, value, isWrong, onInput }: FieldProps) {
  const input = {
    id,
    value,
    autocomplete: COMPLETED[id],
    spellcheck: false,
    'aria-describedby': isWrong ? 'sign-in-help sign-in-error' : 'sign-in-help',
    'aria-invalid': isWrong,
  };
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {id === 'name' ? (
        <input {...input} type="text" onInput={(event) => onInput(event.currentTarget.value)} />
      ) : (
        <input {...input} type="password" onInput={(event) => onInput(event.currentTarget.value)} />
      )}
    </div>
  );
}

function WhyNot({ refusal }: { readonly refusal: Refused }) {
  if (refusal.status === 401)
    return (
      <Notice tone="bad" isUrgent>
        <p>This token is not good, or not any more: it may have expired or been revoked.</p>
        <p class="help">{refusal.message}</p>
        <p>Sign in again, or ask those who gave it to you for a new one.</p>
      </Notice>
    );
  return (
    <Notice tone="bad" isUrgent>
      <p>{refusal.status === 403 ? 'You may not do that.' : 'The server refused.'}</p>
      <p class="help">{refusal.message}</p>
    </Notice>
  );
}
