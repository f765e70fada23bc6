/** What the applications share: the lines they exchange with the test, and the proof that they run on millrace. */
import assert from 'node:assert/strict';
import { createCipheriv } from 'node:crypto';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

/** The control runs on plain Node, without millrace. */
const isControl = process.env.MILLRACE_ENGINE === 'node';

/** From the folder of millrace's package.json, `millrace` resolves to itself. */
const require = createRequire(join(process.cwd(), 'package.json'));

/** Puts a server of Node's http on millrace; does nothing in the control. */
export const { mount } = require('millrace/http');

/** @type {() => { endpoints: number, arenaInUse: number, lentBuffers: number }} */
let inspect;

if (!isControl) {
  const millrace = require('millrace');
  assert.equal(millrace.engine, process.env.MILLRACE_ENGINE ?? millrace.engine);
  for (const name of ['net', 'node:net']) assert.ok(require(name) === millrace, `require('${name}') gives millrace`);
  assert.ok(require('node:tls') === require('millrace/tls'), "require('node:tls') gives millrace/tls");
  ({ inspect } = await import(new URL('engine/engine.js', pathToFileURL(require.resolve('millrace'))).href));
  process.once('exit', () => {
    // Nothing of the engine is left once all connections are closed.
    if (process.exitCode === undefined) assert.deepEqual(inspect(), { endpoints: 0, arenaInUse: 0, lentBuffers: 0 });
  });
}

/** Asserts that at least so many of the connections that are open now are millrace's. */
export function proveMillrace(count = 1) {
  if (!isControl) assert.ok(inspect().endpoints >= count, `${inspect().endpoints} connections on millrace`);
}

/** The port that the test gave. */
export const port = Number(process.argv[2]);

/** Prints a line for the test. */
export function say(text) {
  process.stdout.write(`${text}\n`);
}

/** The test's next line. */
export function heard() {
  const lines = createInterface({ input: process.stdin });
  return new Promise((resolve) => {
    lines.once('line', (line) => {
      lines.close();
      process.stdin.destroy();
      resolve(line);
    });
  });
}

/** The arguments of the next event; an 'error' before it is somebody else's business, unlike with events.once. */
export function next(emitter, event) {
  return new Promise((resolve) => {
    emitter.once(event, (...args) => resolve(args));
  });
}

/** Bytes that no run length and no wrong order can imitate; the same for the same size. */
export function bytes(size) {
  const key = Buffer.alloc(16, size % 251);
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(size));
}

/** More than any buffer on the way, and no round number. */
export const LARGE = 3 * 1024 * 1024 + 7;

/** Asserts that two large buffers are equal, without printing them if not. */
export function assertSame(got, expected, what) {
  assert.equal(got.length, expected.length, `${what}: length`);
  const at = Buffer.compare(got, expected) === 0 ? -1 : got.findIndex((byte, index) => byte !== expected[index]);
  assert.equal(at, -1, `${what}: first difference`);
}

/** Tries until the server is there again. */
export async function again(connect) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await connect();
    } catch (error) {
      if (attempt === 400) throw error;
      await wait(50);
    }
  }
}
