/**
 * The token of this tab. It comes in the address behind `#`, which browsers do not send to servers, or from the form; it is
 * kept until the tab is closed, and goes out of the address bar at once.
 */
const KEY = 'pilotage-token';
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

export function keepToken(token: string): void {
  sessionStorage.setItem(KEY, token);
}

export function forgetToken(): void {
  sessionStorage.removeItem(KEY);
}

export function currentToken(): string | undefined {
  return sessionStorage.getItem(KEY) ?? undefined;
}
