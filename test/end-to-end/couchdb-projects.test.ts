import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import https from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CouchdbClient, couchdbClient } from '../../src/ground/client/couchdb-client.ts';
import { adminToken } from '../support/api.ts';
import { type RunningServer, startServer } from '../support/running-server.ts';

interface Credentials {
  readonly url: string;
  readonly user: string;
  readonly files: readonly string[];
}

describe('projects as databases', () => {
  let server: RunningServer;
  let root: string;
  let face: CouchdbClient;
  beforeAll(async () => {
    root = mkdtempSync(path.join(tmpdir(), 'pilotage-couchdb-projects-'));
    server = await startServer(['--couchdb-tls-listen', '127.0.0.1:0']);
    face = couchdbClient({ url: `${server.url()}/couchdb`, user: 'admin', password: adminToken(server) });
  });
  afterAll(async () => {
    face?.close();
    await server?.[Symbol.asyncDispose]();
    rmSync(root, { recursive: true, force: true });
  });

  const login = (name: string): string => {
    const file = path.join(root, `login-${name}`);
    writeFileSync(file, `admin:${adminToken(server)}\n`, { mode: 0o600 });
    return file;
  };
  const fails = async (...words: string[]) => {
    const { code, stderr } = await server.run(words);
    expect(code).not.toBe(0);
    return stderr;
  };

  describe('credentials', () => {
    test('are written for their owner alone, with the certificate, and open this project and no other', async () => {
      await server.json(['project', 'create', 'lofar']);
      const to = path.join(root, 'cfg');
      const made = await server.json<Credentials>(['project', 'credentials', 'lofar', '--to', to]);
      expect(statSync(to).mode & 0o777).toBe(0o700);
      expect(made.files.map((file) => statSync(file).mode & 0o777)).toEqual([0o600, 0o600]);
      expect(JSON.stringify(made)).not.toContain(passwordIn(to));
      expect(await ask(made, to, '/lofar')).toMatchObject({ status: 200 });
      expect(await ask(made, to, '/lofar/_design/Monitor/_view/todo')).toMatchObject({ status: 200 });
      expect(await ask(made, to, '/default')).toMatchObject({ status: 403 });
      expect((await ask(made, to, '/_all_dbs')).text.trim()).toBe('["lofar"]');
    });

    test('made again they are new, and the old password is good no longer', async () => {
      const to = path.join(root, 'again');
      const made = await server.json<Credentials>(['project', 'credentials', 'default', '--to', to]);
      const old = passwordIn(to);
      expect((await ask(made, to, '/default')).status).toBe(200);
      await server.json(['project', 'credentials', 'default', '--to', to]);
      expect((await ask(made, to, '/default', old)).status).toBe(401);
      expect((await ask(made, to, '/default')).status).toBe(200);
    });

    test.each([
      ['a directory that others may enter', (to: string) => mkdirSync(to, { mode: 0o755 }), 'chmod 700'],
      [
        'a file that others may read',
        (to: string) => {
          mkdirSync(to, { mode: 0o700 });
          writeFileSync(path.join(to, 'picasconfig.py'), 'kept');
          chmodSync(path.join(to, 'picasconfig.py'), 0o644);
        },
        'chmod 600',
      ],
      ['a link to somewhere else', (to: string) => symlinkSync(root, to), 'symbolic link'],
    ])('%s is refused with the way out, and nothing changes', async (what, prepare, advice) => {
      const to = path.join(root, what.replaceAll(' ', '-'));
      prepare(to);
      if (what.startsWith('a directory')) chmodSync(to, 0o755);
      expect(await fails('project', 'credentials', 'default', '--to', to)).toContain(advice);
      if (what.startsWith('a file')) expect(readFileSync(path.join(to, 'picasconfig.py'), 'utf8')).toBe('kept');
    });

    const passwordIn = (directory: string): string =>
      /PICAS_PASSWORD = "(.*)"/.exec(readFileSync(path.join(directory, 'picasconfig.py'), 'utf8'))?.[1] ?? '';
    const ask = (made: Credentials, directory: string, where: string, password = passwordIn(directory)) => {
      expect(made.url).toMatch(/^https:/);
      const ca = readFileSync(path.join(directory, 'pilotage-certificate.pem'));
      return new Promise<{ status: number; text: string }>((resolve, reject) => {
        const auth = `${made.user}:${password}`;
        https
          .get(`${made.url}${where}`, { ca, auth }, (answer) => {
            let text = '';
            answer.setEncoding('utf8').on('data', (piece: string) => {
              text += piece;
            });
            answer.once('end', () => resolve({ status: answer.statusCode ?? 0, text }));
          })
          .once('error', reject);
      });
    };
  });

  test('a port that is taken is told with the way out, and nothing is left of the server', async () => {
    const data = path.join(root, 'second');
    const port = new URL(server.url()).port;
    const words = ['serve', '--data', data, '--listen', '127.0.0.1:0', '--couchdb-listen', `127.0.0.1:${port}`];
    const { code, stderr } = await server.run(words, { env: { PILOTAGE_DATA: data } });
    expect(code).toBe(1);
    expect(stderr).toContain(`--couchdb-listen 127.0.0.1:PORT`);
    expect(stderr).not.toContain('"level":50');
    expect(existsSync(path.join(data, 'server.json'))).toBe(false);
  });

  test('limits of tokens are set and told; nonsense is refused', async () => {
    await server.json(['project', 'create', 'limits']);
    const set = (...words: string[]) => server.json(['project', 'set', 'limits', ...words]);
    expect(await set('--max-lock-age', '36h', '--max-scrubs', '7')).toMatchObject({
      maxLockAgeSeconds: 129_600,
      maxScrubs: 7,
    });
    expect(await set('--max-scrubs', 'usual')).toMatchObject({ maxLockAgeSeconds: 129_600, maxScrubs: 3 });
    expect(await fails('project', 'set', 'limits')).toContain('--max-lock-age');
    expect(await fails('project', 'set', 'limits', '--max-scrubs', '-1')).toContain('whole number');
    expect(await fails('project', 'set', 'nosuch', '--max-scrubs', '2')).toContain("no project 'nosuch'");
  });

  describe('pools come and go', () => {
    const big = Buffer.alloc(5 * 1024 * 1024, 'water ');
    const fresh = { type: 'token', lock: 0, done: 0, hostname: '', scrub_count: 0, exit_code: '' };
    let source: string;

    beforeAll(async () => {
      await face.json('PUT', '/origin');
      source = `${server.url()}/couchdb/origin`;
      const docs = [
        ...Array.from({ length: 1200 }, (_, i) => ({ _id: `token_${i}`, ...fresh, input: i })),
        { _id: 'a/b c ü', ...fresh, id64: 1 },
        { _id: 'over', ...fresh, lock: 5, done: 6, exit_code: 0, hostname: 'n' },
        { _id: 'broken', ...fresh, lock: 99, done: 99, error: [{ message: 'no' }] },
        { _id: 'held', ...fresh, lock: 5, hostname: 'n' },
        { _id: 'note', type: 'log', msg: 'a plain document' },
        {
          _id: '_design/Mine',
          language: 'javascript',
          views: { all: { map: 'function(doc) { emit(doc._id, 1); }', reduce: '_count' } },
        },
        {
          _id: 'small',
          ...fresh,
          _attachments: { 'a file.txt': { content_type: 'text/plain', data: Buffer.from('hello').toString('base64') } },
        },
      ];
      const { status, value } = await face.json('POST', '/origin/_bulk_docs', { docs });
      expect(status).toBe(201);
      const rev = (value as { id: string; rev: string }[]).find(({ id }) => id === 'over')?.rev;
      const answer = await fetch(`${source}/over/big%20log?rev=${rev}`, {
        method: 'PUT',
        body: big,
        headers: {
          'content-type': 'text/x-log',
          authorization: `Basic ${Buffer.from(`admin:${adminToken(server)}`).toString('base64')}`,
        },
      });
      expect(answer.status).toBe(201);
    });

    const counts = async (database: string) => {
      const { value } = await face.json('GET', `/${database}/_design/Monitor/_view/overview_total?group=true`);
      return Object.fromEntries(
        (value as { rows: { key: string; value: number }[] }).rows.map((row) => [row.key, row.value]),
      );
    };
    const documents = async (database: string): Promise<Map<string, Record<string, unknown>>> => {
      const { value } = await face.json('GET', `/${database}/_all_docs?include_docs=true`);
      return new Map(
        (value as { rows: { id: string; doc: Record<string, unknown> }[] }).rows.map((row) => [row.id, row.doc]),
      );
    };

    test('documents, designs and attachments arrive as they were; a second time nothing is brought', async () => {
      const copied = await server.json([
        'import',
        'couchdb',
        source,
        '--project',
        'here',
        '--login-file',
        login('import'),
      ]);
      expect(copied).toMatchObject({ documents: 1206, designs: 1, attachments: 2 });
      const [from, to] = [await documents('origin'), await documents('here')];
      expect([...to.keys()].sort()).toEqual([...from.keys()].sort());
      for (const [id, doc] of from) {
        if (id === 'over') expect(to.get(id)).toMatchObject({ lock: 5, done: 6, hostname: 'n' });
        else expect(to.get(id)).toEqual(doc);
      }
      expect(await counts('here')).toEqual({ todo: 1202, locked: 1, done: 1, error: 1 });
      const bytes = await face.download('/here/over/big%20log');
      const chunks: Buffer[] = [];
      for await (const chunk of bytes as AsyncIterable<Buffer>) chunks.push(chunk);
      expect(Buffer.concat(chunks).equals(big)).toBe(true);
      const again = await server.json([
        'import',
        'couchdb',
        source,
        '--project',
        'here',
        '--login-file',
        login('import'),
      ]);
      expect(again).toMatchObject({ documents: 0, designs: 0, attachments: 0 });
    });

    test('what was changed there since is brought, what was changed here stays', async () => {
      const change = async (database: string, id: string, fields: object) => {
        const { value } = await face.json('GET', `/${database}/${id}`);
        expect((await face.json('PUT', `/${database}/${id}`, { ...(value as object), ...fields })).status).toBe(201);
      };
      await server.json(['import', 'couchdb', source, '--project', 'twice', '--login-file', login('twice')]);
      await change('origin', 'token_1', { input: 'changed there' });
      await change('twice', 'token_2', { input: 'changed here' });
      expect(
        await server.json(['import', 'couchdb', source, '--project', 'twice', '--login-file', login('twice')]),
      ).toMatchObject({ documents: 1 });
      const there = await documents('twice');
      expect(there.get('token_1')).toMatchObject({ input: 'changed there' });
      expect(there.get('token_2')).toMatchObject({ input: 'changed here' });
    });

    test('a project goes out again, tasks of other faces with it', async () => {
      await server.run(['submit', '--project', 'here', '--', 'true']);
      const target = `${server.url()}/couchdb/out`;
      await server.json(['export', 'couchdb', 'here', target, '--login-file', login('export')]);
      const out = await documents('out');
      expect(out.get('note')).toMatchObject({ msg: 'a plain document' });
      const native = [...(await documents('here')).keys()].filter((id) => id.startsWith('pilotage:'));
      expect(native).toHaveLength(1);
      expect(out.has((native[0] ?? '').replace('pilotage:', 'task-of-pilotage:'))).toBe(true);
    });

    test.each([
      ['a password in the address', () => [source.replace('://', '://admin:secret@')], '--login-file'],
      ['no password', () => [source], '--login-file'],
      ['a database that is not there', () => [`${source}x`, '--login-file', login('none')], 'is that its name'],
      ['something that is no CouchDB', () => [`${server.url()}/api/v1/x`], 'CouchDB'],
      ['no address', () => ['origin'], 'https://HOST:6984/DATABASE'],
    ])('%s is told with what to do', async (_what, words, advice) => {
      const stderr = await fails('import', 'couchdb', ...words());
      expect(stderr).toContain(advice);
      expect(stderr).not.toContain('secret');
    });
  });
});
