import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { pathToFileURL } from 'node:url';

interface Layers {
  violations(root: string): string[];
  importsOf(source: string): { line: number; specifier: string; isLoading: boolean }[];
}
const { violations, importsOf }: Layers = await import(pathToFileURL('tools/layers.mjs').href);

/** Lays out a tree with one exported entry, `src/index.ts`, and returns what is wrong with it. */
function check(t: TestContext, files: Record<string, string>): string[] {
  const root = mkdtempSync(join(tmpdir(), 'millrace-layers-'));
  t.after(() => rmSync(root, { recursive: true }));
  const manifest = {
    exports: { '.': { default: './dist/index.js' }, './session': { default: './dist/session/index.js' } },
  };
  for (const [path, text] of Object.entries({ 'package.json': JSON.stringify(manifest), ...files })) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return violations(root);
}

test('this tree keeps its layers', () => {
  assert.deepEqual(violations(process.cwd()), []);
});

test('every layer may import the one below it', (t) => {
  const found = check(t, {
    'src/index.ts': "import { choice } from './engine/engine.ts';\nexport { ownNet } from './net/net.ts';",
    'src/engine/engine.ts': "import { push } from './ring.ts';\nimport './ops/recv.ts';",
    'src/net/net.ts': "import type { Turn } from '../engine/turn.ts';\nimport { Duplex } from 'node:stream';",
    'src/direct/listen.ts': "import type { A } from '../tls/peer.ts';\nconst { b } = await import('./tls/index.ts');",
    'src/direct/tls/index.ts': "import { c } from '../../tls/native.ts';",
    'src/session/serve.ts': "import net from '../index.ts';\nimport { decode } from '../framing/index.ts';",
    'apps/chat/main.ts':
      "import net from 'millrace';\nimport { Room } from './parts/room.ts';\nimport 'node:fs/promises';",
    'examples/protocol/protocol.ts': "import * as v from 'valibot';",
    'examples/echo.ts': "import { serve } from 'millrace/session';\nimport { port } from './port.ts';",
  });
  assert.deepEqual(found, []);
});

const refused: Record<string, [path: string, source: string, message: RegExp]> = {
  'engine imports net': ['src/engine/ring.ts', "import '../net/socket.ts';", /engine may not import net/],
  'net imports an inner file of engine': ['src/net/a.ts', "import '../engine/ops/recv.ts';", /engine's public files/],
  'net imports session': ['src/net/a.ts', "export * from '../session/index.ts';", /net may not import session/],
  'framing imports engine': ['src/framing/a.ts', "import '../engine/engine.ts';", /framing may not import engine/],
  'framing imports net': [
    'src/framing/a.ts',
    "import net from '../index.ts';",
    /framing may not import a public entry/,
  ],
  'session imports an inner file of framing': [
    'src/session/a.ts',
    "import '../framing/decoder.ts';",
    /not a public entry/,
  ],
  'session imports an inner file of net': ['src/session/a.ts', "import '../net/socket.ts';", /not a public entry/],
  'direct loads its TLS at once': ['src/direct/a.ts', "import { b } from './tls/b.ts';", /come with import\(\)/],
  'direct loads tls at once': ['src/direct/a.ts', "import '../tls/native.ts';", /come with import\(\)/],
  'the library imports a package': ['src/net/a.ts', "import x from 'left-pad';", /no dependencies/],
  'the library imports a builtin without node:': ['src/net/a.ts', "import x from 'fs';", /no dependencies/],
  'an app imports the source': ['apps/chat/main.ts', "import '../../src/index.ts';", /outside of its own folder/],
  'an app imports another app': ['apps/chat/main.ts', "import '../game/main.ts';", /outside of its own folder/],
  'an app imports the internal alias': ['apps/chat/main.ts', "import '#src/index.ts';", /millrace and Node only/],
  'an app imports what examples show beside ours': ['apps/a.ts', "import 'valibot';", /millrace and Node only/],
  'an example imports dynamically': ['examples/a.ts', "const x = await import('express');", /millrace and Node only/],
};
for (const [title, [path, source, message]] of Object.entries(refused)) {
  test(`refuses that ${title}`, (t) => {
    const found = check(t, { [path]: `// a head comment\n${source}\n` });
    assert.equal(found.length, 1, found.join('\n'));
    assert.match(found[0] ?? '', message);
    assert.equal(found[0]?.split(' ')[0], `${path}:2:`);
  });
}

test('finds imports over several lines, and none in comments or strings of text', () => {
  const source = [
    "// import 'a';",
    "/** @example import b from 'b'; */",
    'import {',
    '  one,',
    '  two,',
    "} from 'c';",
    "import type { D } from 'd';",
    "export { e } from 'e';",
    "export const text = 'not from here';",
    "const f = await import('f');",
  ].join('\n');
  assert.deepEqual(importsOf(source), [
    { line: 6, specifier: 'c', isLoading: true },
    { line: 7, specifier: 'd', isLoading: false },
    { line: 8, specifier: 'e', isLoading: true },
    { line: 10, specifier: 'f', isLoading: false },
  ]);
});
