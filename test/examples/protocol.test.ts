import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { call, dial } from 'millrace/session';
import { codec, MAX_FILE_BYTES, store } from '../../examples/protocol/protocol.ts';
import { connect, connectDeaf, type Program, start } from '../support/program.ts';

const LIMIT = { timeout: 60_000 };
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const code = (expected: string) => (error: { code?: string }) => error.code === expected;

async function startStore(t: TestContext) {
  const program = start(t, 'examples/protocol/server', ['--port', '0']);
  const address = await program.address();
  const api = async () => {
    const session = await dial({ ...address, codec });
    t.after(() => session.abort());
    return { session, api: call(session, store) };
  };
  return { program, address, api };
}

function runClient(t: TestContext, { port }: { port: number }, ...args: string[]): Program {
  return start(t, 'examples/protocol/client', ['--port', String(port), ...args]);
}

test('what protocol says on the wire is a length and MessagePack', LIMIT, async (t) => {
  const { program, address } = await startStore(t);
  const peer = await connect(t, address);
  // [1, 1, "put", 0, 0, { name: "a", bytes: <ff 00> }] -> [4, -1, { revision: 1 }], byte by byte
  const put = hex('0000001b 96 01 01 a3707574 00 00 82 a46e616d65 a161 a56279746573 c402ff00');
  for (const byte of put) peer.write(Buffer.of(byte));
  assert.deepEqual(await peer.bytes(18), hex('0000000e 93 04 ff 81 a87265766973696f6e 01'));
  // [1, 2, "get", 0, 0, { name: "b" }] -> [5, -2, "NOT_FOUND", "there is no file b"]
  peer.write(hex('00000011 96 01 02 a3676574 00 00 81 a46e616d65 a162'));
  const error = Buffer.concat([hex('00000020 94 05 fe a9'), Buffer.from('NOT_FOUND'), hex('b2')]);
  assert.deepEqual(await peer.bytes(36), Buffer.concat([error, Buffer.from('there is no file b')]));
  assert.equal(program.stderr, '');
});

test('requests share the connection, and each has its own answer', LIMIT, async (t) => {
  const { api: open } = await startStore(t);
  const { api } = await open();
  const { api: other } = await open();
  const names = Array.from({ length: 500 }, (_, i) => `file-${i}`);
  const revisions = await Promise.all(names.map((name) => api.put({ name, bytes: Buffer.from(name) })));
  assert.ok(revisions.every(({ revision }) => revision === 1));
  assert.deepEqual(await api.put({ name: 'file-7', bytes: Buffer.alloc(MAX_FILE_BYTES, 0xc1) }), { revision: 2 });
  const got = await Promise.all(names.map((name) => other.get({ name })));
  for (const [i, { bytes }] of got.entries()) {
    const expected = i === 7 ? Buffer.alloc(MAX_FILE_BYTES, 0xc1) : Buffer.from(`file-${i}`);
    assert.ok(expected.equals(bytes), `file-${i}`);
  }
  const listed: string[] = [];
  for await (const { name, size } of other.list({ prefix: 'file-4' })) listed.push(`${name} ${size}`);
  assert.equal(listed.length, 111);
  assert.deepEqual(listed.slice(0, 2), ['file-4 6', 'file-40 7']);
});

test('what the contract does not allow never reaches a handler, and the caller is told why', LIMIT, async (t) => {
  const { api: open } = await startStore(t);
  const { api } = await open();
  const bytes = Buffer.from('x');
  for (const name of ['', '../x', 'x'.repeat(65), 7, null]) {
    await assert.rejects(api.put({ name: name as string, bytes }), code('MILLRACE_ERR_BAD_INPUT'));
  }
  await assert.rejects(api.put({ name: 'x', bytes: 'text' as never }), code('MILLRACE_ERR_BAD_INPUT'));
  const tooMany = Buffer.alloc(MAX_FILE_BYTES + 1);
  await assert.rejects(api.put({ name: 'x', bytes: tooMany }), code('MILLRACE_ERR_BAD_INPUT'));
  const farTooMany = Buffer.alloc(2 * MAX_FILE_BYTES);
  await assert.rejects(api.put({ name: 'x', bytes: farTooMany }), code('MILLRACE_ERR_FRAME_TOO_LARGE'));
  await assert.rejects(api.get({ name: 'x' }), code('NOT_FOUND'));
  // 64 MiB are all there is, and what is replaced makes room.
  const full = Buffer.alloc(MAX_FILE_BYTES);
  for (let i = 0; i < 256; i++) await api.put({ name: `full-${i}`, bytes: full });
  await assert.rejects(api.put({ name: 'x', bytes }), code('FULL'));
  await api.put({ name: 'full-0', bytes });
  assert.deepEqual(await api.put({ name: 'x', bytes }), { revision: 1 });
});

test('hostile frames end their connection, and no other', LIMIT, async (t) => {
  const { program, address, api: open } = await startStore(t);
  const { api } = await open();
  const nested = Buffer.alloc(4 + 100_001, 0x91);
  nested.writeUInt32BE(100_001);
  nested[nested.length - 1] = 0xc0;
  const frames = { huge: hex('ffffffff'), noType: hex('00000001 c1'), noCall: hex('00000002 91 7f'), nested };
  for (const [what, bytes] of Object.entries(frames)) {
    const peer = await connect(t, address);
    peer.write(bytes);
    assert.equal(await peer.rest(), '', what);
  }
  // One that asks and asks, and never reads: it is not read any more, and the others are served.
  await api.put({ name: 'a', bytes: Buffer.alloc(MAX_FILE_BYTES) });
  const deaf = await connectDeaf(t, address);
  for (let id = 1; id < 500; id++) {
    const call = Buffer.concat([
      hex('00000013 96 01 cd'),
      Buffer.from([id >> 8, id]),
      hex('a3676574 00 00 81 a46e616d65 a161'),
    ]);
    deaf.write(call);
  }
  for (let i = 0; i < 20; i++) assert.equal((await api.get({ name: 'a' })).bytes.length, MAX_FILE_BYTES);
  assert.equal(program.stderr, '');
});

test('the client of protocol puts, gets, lists, and says what went wrong', LIMIT, async (t) => {
  const { program, address } = await startStore(t);
  const folder = mkdtempSync(join(tmpdir(), 'millrace-protocol-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'file');
  writeFileSync(file, 'grüße\n');
  const says = async (args: string[], stdout: string, stderr = '') => {
    const client = runClient(t, address, ...args);
    assert.deepEqual(await client.ended, { code: stderr === '' ? 0 : 1, signal: null });
    assert.deepEqual([client.stdout, client.stderr], [stdout, stderr]);
  };
  await says(['put', 'a', file], 'revision 1\n');
  await says(['put', 'a', file], 'revision 2\n');
  await says(['get', 'a'], 'grüße\n');
  await says(['get', 'b'], '', 'there is no file b (NOT_FOUND)\n');
  await says(['list', 'x'], '');
  const load = runClient(t, address, 'load', '300');
  await load.line(/^300 of 300 files came back, \d+ calls a second$/);
  assert.deepEqual(await program.stop('SIGTERM'), { code: 0, signal: null });
  await says(['list'], '', `connect ECONNREFUSED 127.0.0.1:${address.port} (ECONNREFUSED)\n`);
});
