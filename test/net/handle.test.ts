/** `socket._handle`, `server._handle`: what programs and Node's own tests do with them. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import nodeNet, { type Server, type Socket } from 'node:net';
import test from 'node:test';
import net, { engine } from 'millrace';
import { close, dial, keep, leakGuard, limit, once, pair, portOf, serve, trace, within } from '../support/net.ts';

await leakGuard(async () => {
  await once(spawn('true'), 'close');
});

interface Handle {
  fd: number;
  close(callback?: () => void): void;
  setKeepAlive(on: boolean, delaySeconds: number): number;
  getsockname(out: object): number;
  onconnection?: (errno: number, handle: Handle) => void;
}
const handleOf = (thing: Socket | Server): Handle => (thing as unknown as { _handle: Handle })._handle;

test('a write on a handle that was closed behind the socket is EBADF, and the socket closes', limit, async (t) => {
  if (engine === 'node') return t.skip('the same error, but Node then emits no close');
  const { client } = await pair(t);
  const log = trace(client, ['error', 'close']);
  handleOf(client).close();
  client.write('x');
  await close(client);
  assert.deepEqual(log, ['error:EBADF', 'close:true']);
});

test('a socket whose handle was taken away is closed for writing', limit, async (t) => {
  const { client } = await pair(t);
  handleOf(client).close();
  (client as unknown as { _handle: null })._handle = null;
  client.write('x');
  const [error] = (await once(client, 'error')) as [NodeJS.ErrnoException];
  assert.equal(error.code, 'ERR_SOCKET_CLOSED');
});

test('connections pass through onconnection of the listening handle', limit, async (t) => {
  const server = await serve(t, undefined, { server: { keepAlive: true, keepAliveInitialDelay: 7000 } });
  const handle = handleOf(server);
  const { onconnection } = handle;
  const calls: unknown[][] = [];
  handle.onconnection = (errno, client) => {
    const { setKeepAlive } = client;
    client.setKeepAlive = (on, seconds) => {
      calls.push([on, seconds]);
      return setKeepAlive.call(client, on, seconds);
    };
    onconnection?.call(handle, errno, client);
  };
  const accepted = once(server, 'connection');
  await dial(t, server);
  await accepted;
  assert.deepEqual(calls, [[true, 7]]);
});

test('address() asks getsockname of the handle', limit, async (t) => {
  const server = await serve(t);
  const handle = handleOf(server);
  const { getsockname } = handle;
  handle.getsockname = () => -1;
  assert.throws(() => server.address(), { code: 'EPERM', syscall: 'address' });
  handle.getsockname = getsockname;
  assert.equal(portOf(server) > 0, true);
});

test('a socket in the stdio array of a child is its standard output', limit, async (t) => {
  const { client, peer } = await pair(t);
  const child = spawn('printf', ['from the child'], { stdio: ['ignore', peer, 'inherit'] });
  assert.equal(String((await once(client, 'data'))[0]), 'from the child');
  await within(once(child, 'close'), 'the child');
  peer.end();
  await once(client, 'end');
});

test('a new socket has no descriptor, a connected one its own', limit, async (t) => {
  if (engine === 'node') return t.skip('ours');
  const fresh = keep(t, new net.Socket()) as Socket & { fd?: number };
  assert.equal(fresh.fd, undefined);
  const { client } = await pair(t);
  assert.equal((client as Socket & { fd?: number }).fd, handleOf(client).fd);
  client.destroy();
  assert.equal((client as Socket & { fd?: number }).fd, undefined);
  class Numbered extends net.Socket {
    fd = 7;
  }
  assert.equal(keep(t, new Numbered()).fd, 7);
  assert.equal((keep(t, Object.assign(new net.Socket(), { fd: 8 })) as { fd: number }).fd, 8);
});

type Internals = { _normalizeArgs(args: unknown[]): unknown[]; _createServerHandle: unknown };

test('_normalizeArgs and _createServerHandle are there, and normalised arguments are taken', limit, async (t) => {
  const ours = net as unknown as Internals;
  const nodes = nodeNet as unknown as Internals;
  assert.equal(typeof ours._createServerHandle, 'function');
  const listener = (): void => {};
  for (const args of [[], [80], [80, 'host'], [80, 'host', listener], ['/path', listener], [{ port: 1 }], ['80']])
    assert.deepEqual(ours._normalizeArgs(args), nodes._normalizeArgs(args));
  const server = await serve(t);
  for (const module of [ours, nodes]) {
    const socket = keep(t, new net.Socket());
    const connect = socket.connect as unknown as (normalized: unknown) => Socket;
    const connected = new Promise<void>((resolve) => {
      connect.call(socket, module._normalizeArgs([{ port: portOf(server), host: '127.0.0.1' }, resolve]));
    });
    await within(connected, 'the listener of normalised arguments');
  }
});
