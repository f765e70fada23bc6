import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';

interface Docs {
  blocksOf(markdown: string): { line: number; code: string }[];
  check(files: string[]): { blocks: number; errors: string[] };
}
const { blocksOf, check }: Docs = await import(pathToFileURL('tools/docs.mjs').href);

const markdown = [
  '# A page',
  '```ts',
  "import net from 'millrace';",
  'net.createServer((socket) => socket.pipe(socket)).listen(0);',
  '```',
  '```sh',
  'npm test',
  '```',
  '```ts ignore',
  'const half = (;',
  '```',
  '```ts',
  "import net from 'millrace';",
  "net.connect({ port: 'seven' });",
  'net.createSevrer();',
  '```',
].join('\n');

test('takes the ts blocks of a page, without those marked to be ignored', () => {
  assert.deepEqual(
    blocksOf(markdown).map(({ line }) => line),
    [3, 13],
  );
});

test('reports an error in a block with the line of the page', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-docs-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const page = join(folder, 'page.md');
  writeFileSync(page, markdown);
  const { blocks, errors } = check([page]);
  assert.equal(blocks, 2);
  const places = errors.filter((line) => line.startsWith(page)).map((line) => line.slice(page.length + 1));
  assert.match(places.join('\n'), /^14:\d+: error TS2\d+.*\n[\s\S]*15:\d+: error TS2\d+: .*createSevrer/);
  assert.ok(!places.some((line) => /^[1-9]:/.test(line)), 'the first block is free of errors');
});
