/**
 * The token of this tab. It comes in the address behind `#`, which browsers do not send to servers, or from the form, where a
 * login gets one; it is kept until the tab is closed, and goes out of the address bar at once.
 */
const KEY = 'pilotage-token';
/** Says that the token is that of a login, which ends when one signs out. */
const LOGIN = 'pilotage-login';
const TOKEN = /^#(pilotage_[A-Za-z0-9_-]{16,200})$/;

/** The token in the part of an address behind `#`, if there is one. */
export function tokenIn(hash: string): string | undefined {
  return TOKEN.exec(hash)?.[1];
}

export function takeTokenFromAddress(): void {
  const token = tokenIn(location.hash);
  if (token === undefined) return;
  keepToken(token);
  history.replaceState(history.state, '', location.pathname + location.search);
}

export function keepToken(token: string, isLogin = false): void {
  sessionStorage.setItem(KEY, token);
  if (isLogin) sessionStorage.setItem(LOGIN, 'yes');
  else sessionStorage.removeItem(LOGIN);
}

export function forgetToken(): void {
  sessionStorage.removeItem(KEY);
  sessionStorage.removeItem(LOGIN);
}

export function isLogin(): boolean {
  return sessionStorage.getItem(LOGIN) !== null;
}

export function currentToken(): string | undefined {
  return sessionStorage.getItem(KEY) ?? undefined;
}
