/** What systemd gives, and what it is told: by a receiver of the test's own, and by systemd's tools where there are some. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { notify, systemdSockets, watchdogMs } from 'millrace/restart';
import { AF, MOST_RIGHTS, SOCK } from '#src/engine/abi.ts';
import { encodePath } from '#src/engine/address.ts';
import { nativePart } from '#src/engine/native.ts';
import { root } from '../support/child.ts';
import { folder, freePort, type Stage, take } from '../support/net.ts';
import { Client, limit, type Program, stand } from './support/run.ts';

const native = nativePart();
const options = { ...limit, skip: native === null && 'there is no native part here' };

/** Variables of this process, for one test. */
function environment(t: Stage, variables: Record<string, string | undefined>): void {
  for (const [name, value] of Object.entries(variables)) {
    const before = process.env[name];
    const set = (to: string | undefined): void => {
      if (to === undefined) delete process.env[name];
      else process.env[name] = to;
    };
    set(value);
    t.after(() => set(before));
  }
}

/** A manager that listens at an address: what it was told, in order. */
function manager(t: Stage, address: string): { told(): string | undefined } {
  assert.ok(native !== null);
  const fd = native.socket(AF.UNIX, SOCK.DGRAM, 0);
  t.after(() => void native.closeDescriptor(fd));
  assert.equal(native.bind(fd, encodePath(address.replace(/^@/, '\0')) as Uint8Array), 0);
  environment(t, { NOTIFY_SOCKET: address });
  const bytes = Buffer.alloc(4096);
  return {
    told() {
      const length = native.receiveMessage(fd, bytes, new Int32Array(2 + MOST_RIGHTS));
      return length < 0 ? undefined : bytes.toString('utf8', 0, length);
    },
  };
}

const abstract = (): string => `@millrace-notify-${process.pid}-${Math.random().toString(36).slice(2)}`;

test('the manager is told at a path and at an abstract address', options, async (t) => {
  for (const address of [join(await folder(t), 'notify'), abstract()]) {
    const { told } = manager(t, address);
    assert.equal(await notify({ ready: true, status: 'fine\nSTOPPING=1', mainPid: 42 }), true);
    assert.equal(told(), 'MAINPID=42\nREADY=1\nSTATUS=fine STOPPING=1\n');
    const earliest = process.hrtime.bigint() / 1000n;
    await notify({ reloading: true });
    const [, usec] = /^RELOADING=1\nMONOTONIC_USEC=(\d+)\n$/.exec(told() ?? '') ?? [];
    assert.ok(BigInt(usec as string) >= earliest && BigInt(usec as string) <= process.hrtime.bigint() / 1000n);
    await notify({ stopping: true, watchdog: true, extendTimeoutMs: 1.5, errno: 2 });
    assert.equal(told(), 'STOPPING=1\nEXTEND_TIMEOUT_USEC=1500\nERRNO=2\nWATCHDOG=1\n');
    assert.equal(told(), undefined);
  }
});

test('without a manager nothing is done; one that cannot be told is an error', options, async (t) => {
  environment(t, { NOTIFY_SOCKET: undefined });
  assert.equal(await notify({ ready: true }), false);
  for (const address of ['vsock:2:1234', '/nonexistent/notify', `/${'x'.repeat(200)}`]) {
    environment(t, { NOTIFY_SOCKET: address });
    await assert.rejects(notify({ ready: true }), { code: 'MILLRACE_ERR_NOTIFY_FAILED' });
  }
});

test('a full manager is waited for', options, async (t) => {
  const { told } = manager(t, abstract());
  const all = Array.from({ length: 300 }, (_, i) => notify({ status: `${i}` }));
  let count = 0;
  const seen = new Set<string>();
  while (count < all.length) {
    for (let text = told(); text !== undefined; text = told()) {
      seen.add(text);
      count++;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.deepEqual(new Set(await Promise.all(all)), new Set([true]));
  assert.equal(seen.size, all.length);
});

test('the watchdog’s time is that of this process', limit, (t) => {
  environment(t, { WATCHDOG_USEC: '1500000', WATCHDOG_PID: undefined });
  assert.equal(watchdogMs(), 1500);
  environment(t, { WATCHDOG_PID: String(process.pid) });
  assert.equal(watchdogMs(), 1500);
  environment(t, { WATCHDOG_PID: '1' });
  assert.equal(watchdogMs(), undefined);
  environment(t, { WATCHDOG_PID: undefined, WATCHDOG_USEC: 'soon' });
  assert.equal(watchdogMs(), undefined);
});

test('sockets that are for another process are not ours', limit, (t) => {
  environment(t, { LISTEN_PID: '1', LISTEN_FDS: '2', LISTEN_FDNAMES: 'a:b' });
  assert.deepEqual(systemdSockets(), []);
  assert.equal(process.env['LISTEN_FDS'], undefined, 'nor our children’s');
});

const activates = ((): boolean => {
  try {
    execFileSync('systemd-socket-activate', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

test('listens on the sockets of systemd-socket-activate, by name', { ...options, skip: !activates }, async (t) => {
  const ports = [await freePort(), await freePort()];
  const source = `import net from 'millrace'; import { systemdSockets } from 'millrace/restart';
    const sockets = systemdSockets();
    for (const { fd, name } of sockets) net.createServer((socket) => socket.end(name + ' ' + sockets.length)).listen({ fd });`;
  const tool = spawn(
    'systemd-socket-activate',
    [
      ...ports.flatMap((port) => ['-l', `127.0.0.1:${port}`]),
      ...['--fdname=web:admin', `--setenv=MILLRACE_ENGINE=${process.env['MILLRACE_ENGINE'] ?? ''}`, '--'],
      ...[process.execPath, '--no-warnings', '--input-type=module', '-e', source],
    ],
    { cwd: root, stdio: ['ignore', 'inherit', 'pipe'] },
  );
  t.after(() => void tool.kill('SIGKILL'));
  let heard = '';
  await new Promise<void>((resolve) => {
    tool.stderr.setEncoding('utf8').on('data', (text: string) => {
      heard += text;
      if (ports.every((port) => heard.includes(`:${port} as`))) resolve();
    });
  });
  // The first connection starts the program, and is its first.
  for (const [i, name] of ['web', 'admin'].entries()) {
    const client = new Client(t, { port: ports[i] as number });
    const text = await take(client.socket, name.length + 2);
    assert.equal(text.toString(), `${name} 2`);
  }
});

test('systemd is told of a restart, and which process is the service from then on', options, async (t) => {
  const { told } = manager(t, abstract());
  const service = await stand(t);
  const child: Program = service.start();
  const [, , port, pid] = await child.heard('A ready');
  assert.equal(told(), `MAINPID=${pid}\nREADY=1\n`);
  const client = new Client(t, { port: Number(port) });
  if ((await client.ask('restart')).startsWith('MILLRACE_ERR_NOT_SUPPORTED')) return; // engine node
  assert.match(told() ?? '', /^RELOADING=1\n/);
  const [, , , next] = await child.heard('A ready');
  assert.equal(told(), `MAINPID=${next}\nREADY=1\n`);
  await client.end();
});
