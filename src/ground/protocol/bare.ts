/**
 * Names a route of a table without its schema, which takes long to load and much memory: for those who only call it, and
 * have the other side check what is said. A test holds each list of them equal to the table.
 */
export function bareOf<Table extends Record<keyof Table, { method: string; path: string }>>() {
  return <Name extends keyof Table>(method: Table[Name]['method'], path: Table[Name]['path']): Table[Name] =>
    ({ method, path, summary: '' }) as unknown as Table[Name];
}
