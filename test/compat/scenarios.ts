/**
 * Small stories told to `node:net` and to `millrace`; what each of them saw is written down and must be the same.
 *
 * A trace is kept for each actor (a socket, a server, the script itself) because the order between two ends of a connection
 * is the kernel's, not ours. Where the order between two of them is promised, the story logs both as one actor.
 * A story is deterministic with node:net, takes a few milliseconds, and can run beside others.
 */

import { EventEmitter } from 'node:events';
import type { LookupFunction, NetConnectOpts, Server, ServerOpts, Socket, SocketConstructorOpts } from 'node:net';
import nodeNet from 'node:net';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { inspect } from 'node:util';
import {
  close,
  pair as connectPair,
  dial,
  dialling,
  folder,
  keep,
  type Net,
  once,
  type PairOptions,
  portOf,
  REFUSED_PORT,
  type Stage,
  serve as serveWith,
  turns,
  until,
} from '../support/net.ts';

/** Writes an entry of an actor down. Values become text in which ports and temporary folders have no numbers. */
export type Log = (actor: string, ...values: unknown[]) => void;

export interface Scenario {
  name: string;
  run(net: Net, log: Log, t: Stage): Promise<void>;
}

export const scenarios: Scenario[] = [];
/** Adds a story. */
export const scenario = (name: string, run: Scenario['run']): void => void scenarios.push({ name, run });

// ------------------------------------------------------------------------------------------------------------ vocabulary

const SOCKET_EVENTS = [
  'lookup',
  'connectionAttempt',
  'connectionAttemptFailed',
  'connect',
  'ready',
  'data',
  'end',
  'prefinish',
  'finish',
  'drain',
  'timeout',
  'pause',
  'resume',
  'pipe',
  'unpipe',
  'error',
  'close',
];

/** An error without its stack. */
export function error(value: unknown): unknown {
  if (!(value instanceof Error)) return value;
  const all: Record<string, unknown> = { name: value.name, message: value.message };
  for (const key of Object.keys(value).sort()) all[key] = (value as unknown as Record<string, unknown>)[key];
  if (value instanceof AggregateError) all['errors'] = value.errors.map(error);
  return all;
}

export interface Watch {
  data?: boolean;
  except?: string[];
  /** Events whose order among the others is not promised: each has a trace of its own. */
  apart?: string[];
}

/** Writes every event of a socket down as entries of an actor; data only as its text, and only if it is wanted. */
export function watch(
  log: Log,
  actor: string,
  socket: Socket,
  { data = true, except = [], apart = [] }: Watch = {},
): Socket {
  for (const event of SOCKET_EVENTS) {
    if (except.includes(event) || (event === 'data' && !data)) continue;
    const name = apart.includes(event) ? `${actor} ${event}` : actor;
    socket.on(event, (...args: unknown[]) => {
      if (event === 'data') log(name, 'data', String(args[0]));
      else if (event === 'pipe' || event === 'unpipe') log(name, event);
      else log(name, event, ...args.map(error));
    });
  }
  return socket;
}

/** A connection: `client` and `peer`, both watched under these names from the moment they are connected. */
export async function pair(
  net: Net,
  log: Log,
  t: Stage,
  options: PairOptions & Watch = {},
): Promise<{ client: Socket; peer: Socket; server: Server }> {
  const ends = await connectPair(t, { ...options, net });
  watch(log, 'client', ends.client, options);
  watch(log, 'peer', ends.peer, options);
  return ends;
}

export const serve = (
  net: Net,
  t: Stage,
  onConnection?: (socket: Socket) => void,
  server: ServerOpts = {},
): Promise<Server> => serveWith(t, onConnection, { net, server });

export const both = (...sockets: Socket[]): Promise<unknown> => Promise.all(sockets.map(close));

export function attempt(log: Log, actor: string, name: string, call: () => unknown): void {
  try {
    const result = call();
    log(actor, name, typeof result === 'object' && result !== null ? `returns ${result.constructor?.name}` : result);
  } catch (thrown) {
    const { name: kind, code, message } = thrown as NodeJS.ErrnoException;
    log(actor, name, 'throws', kind, code, message);
  }
}

/** What can be read of a socket at a moment. */
export function state(socket: Socket) {
  return {
    connecting: socket.connecting,
    pending: socket.pending,
    readyState: socket.readyState,
    destroyed: socket.destroyed,
    readable: socket.readable,
    writable: socket.writable,
    readableEnded: socket.readableEnded,
    writableEnded: socket.writableEnded,
    writableFinished: socket.writableFinished,
    bytesRead: socket.bytesRead,
    bytesWritten: socket.bytesWritten,
    allowHalfOpen: socket.allowHalfOpen,
    timeout: socket.timeout,
    closed: socket.closed,
  };
}

// ---------------------------------------------------------------------------------------------- from connect to close

scenario('hello and goodbye', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.write('hello');
  await once(peer, 'data');
  peer.write('hi');
  await once(client, 'data');
  client.end('bye');
  await both(client, peer);
});

scenario('a client from connect to close', async (net, log, t) => {
  const server = await serve(net, t, (socket) => socket.end('x'));
  const client = watch(log, 'client', dialling(t, server, { net }));
  log('client', 'after connect', state(client));
  client.on('connect', () => log('client', 'in connect', state(client)));
  client.on('end', () => log('client', 'in end', state(client)));
  client.on('close', () => log('client', 'in close', state(client)));
  await close(client);
});

scenario('a client without listeners', async (net, log, t) => {
  const server = await serve(net, t, (socket) => {
    watch(log, 'peer', socket, { data: false });
    socket.end('x');
  });
  const client = dialling(t, server, { net });
  client.on('connect', () => log('client', 'connect'));
  client.on('close', () => log('client', 'close'));
  await once(client, 'connect');
  await turns(10);
  log('client', state(client));
  client.resume();
  await close(client);
});

scenario('ticks and promises around connect', async (net, log, t) => {
  const server = await serve(net, t);
  const client = dialling(t, server, { net });
  process.nextTick(() => log('client', 'tick after connect()'));
  void Promise.resolve().then(() => log('client', 'promise after connect()'));
  client.on('connect', () => {
    log('client', 'connect');
    process.nextTick(() => log('client', 'tick in connect'));
    void Promise.resolve().then(() => log('client', 'promise in connect'));
  });
  client.on('ready', () => log('client', 'ready'));
  await once(client, 'ready');
});

scenario('callbacks of write and end', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false });
  peer.resume();
  client.resume();
  client.write('a', (e) => log('client', 'a', e === null || e === undefined));
  client.write(Buffer.from('b'), (e) => log('client', 'b', e === null || e === undefined));
  client.write('63', 'hex', () => log('client', 'c'));
  client.end('d', () => log('client', 'end callback'));
  log('client', 'sync', client.bytesWritten);
  await both(client, peer);
});

scenario('one write and its callback', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.write('a', () => {
    log('client', 'callback');
    process.nextTick(() => log('client', 'tick'));
  });
  log('client', 'sync');
  await once(peer, 'data');
  await turns(3);
});

scenario('end with everything', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  log('client', client.end('c3a9', 'hex', () => log('client', 'callback')) === client);
  await both(client, peer);
});

scenario('end with a callback only', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.end(() => log('client', 'callback'));
  await both(client, peer);
});

scenario('end twice', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.end();
  client.end((e?: NodeJS.ErrnoException | null) => log('callback', e?.code));
  await both(client, peer);
});

scenario('end twice with data', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.end('one');
  client.end('two');
  await both(client, peer);
});

scenario('both sides end at once', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { apart: ['prefinish', 'finish'] });
  client.end('from client');
  peer.end('from peer');
  await both(client, peer);
});

scenario('the peer ends first', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  peer.end('bye');
  client.on('end', () => log('client', 'in end', state(client)));
  client.on('finish', () => log('client', 'in finish', state(client)));
  await both(client, peer);
});

scenario('an answer written in the end listener', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  peer.on('end', () => log('peer', 'write in end', peer.write('late answer')));
  client.end('question');
  await both(client, peer);
});

scenario('an end with data in the end listener', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  peer.on('end', () => peer.end('late answer'));
  client.end('question');
  await both(client, peer);
});

// ------------------------------------------------------------------------------------------------------------- half-open

for (const [name, server, client] of [
  ['neither side half-open', false, false],
  ['a half-open server', true, false],
  ['a half-open client', false, true],
  ['both sides half-open', true, true],
] as const) {
  scenario(`${name}, the client ends`, async (net, log, t) => {
    const ends = await pair(net, log, t, { server: { allowHalfOpen: server }, client: { allowHalfOpen: client } });
    ends.client.end('x');
    await once(ends.peer, 'end');
    await turns(10);
    log('peer', state(ends.peer));
    if (server) ends.peer.end('answer');
    await both(ends.client, ends.peer);
  });

  scenario(`${name}, the peer ends`, async (net, log, t) => {
    const ends = await pair(net, log, t, { server: { allowHalfOpen: server }, client: { allowHalfOpen: client } });
    ends.peer.end('x');
    await once(ends.client, 'end');
    await turns(10);
    log('client', state(ends.client));
    if (client) ends.client.end('answer');
    await both(ends.client, ends.peer);
  });

  scenario(`${name}, the peer is destroyed`, async (net, log, t) => {
    const ends = await pair(net, log, t, { server: { allowHalfOpen: server }, client: { allowHalfOpen: client } });
    ends.peer.destroy();
    await once(ends.client, 'end');
    await turns(10);
    log('client', state(ends.client));
    if (client) ends.client.end();
    await both(ends.client, ends.peer);
  });
}

scenario('allowHalfOpen set later', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.allowHalfOpen = true;
  peer.end();
  await once(client, 'end');
  await turns(10);
  log('client', state(client));
  client.end('still');
  await both(client, peer);
});

scenario('readable false from the start', async (net, log, t) => {
  const server = await serve(net, t, (socket) => watch(log, 'peer', socket));
  const client = watch(log, 'client', dialling(t, server, { net, readable: false } as SocketConstructorOpts));
  await once(client, 'connect');
  log('client', state(client));
  client.end('x');
  await close(client);
});

// ----------------------------------------------------------------------------------------------------------- destruction

scenario('destroy an idle connection', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.destroy();
  log('client', 'after destroy', state(client));
  await both(client, peer);
});

scenario('destroy with an error', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.destroy(Object.assign(new Error('enough'), { code: 'ENOUGH' }));
  process.nextTick(() => log('client', 'tick'));
  void Promise.resolve().then(() => log('client', 'promise'));
  await both(client, peer);
});

scenario('destroy twice', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.destroy();
  client.destroy(new Error('too late'));
  await both(client, peer);
});

scenario('ticks, promises and close', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.destroy();
  process.nextTick(() => log('client', 'tick'));
  void Promise.resolve().then(() => log('client', 'promise'));
  await both(client, peer);
});

scenario('destroy in the tick of connect', async (net, log, t) => {
  const server = await serve(net, t);
  const client = watch(log, 'client', dialling(t, server, { net }), { except: ['connectionAttempt'] });
  client.destroy();
  log('client', state(client));
  await close(client);
});

scenario('destroy with an error in the tick of connect', async (net, log, t) => {
  const server = await serve(net, t);
  const client = watch(log, 'client', dialling(t, server, { net }), { except: ['connectionAttempt'] });
  client.destroy(new Error('changed my mind'));
  await close(client);
});

scenario('destroy a fresh socket', async (net, log, t) => {
  const client = watch(log, 'client', keep(t, new net.Socket()));
  client.destroy();
  await close(client);
  log('client', state(client));
});

scenario('destroy in connect', async (net, log, t) => {
  const server = await serve(net, t);
  const client = watch(log, 'client', dialling(t, server, { net }));
  client.once('connect', () => client.destroy());
  await close(client);
});

scenario('destroy in data', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.once('data', () => client.destroy());
  peer.write('x');
  await both(client, peer);
});

scenario('destroy in end', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.once('end', () => client.destroy());
  peer.end('x');
  await both(client, peer);
});

scenario('destroy in finish', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.once('finish', () => client.destroy());
  client.end('x');
  await both(client, peer);
});

scenario('destroy in the callback of write', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.write('x', () => {
    log('client', 'callback');
    client.destroy();
  });
  await both(client, peer);
});

scenario('destroy in an error listener', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.on('error', () => client.destroy());
  peer.resetAndDestroy();
  await both(client, peer);
});

scenario('write and destroy in the same tick', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.write('last words');
  client.destroy();
  await both(client, peer);
  log('client', client.bytesWritten);
});

scenario('destroySoon with data', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.write('x');
  client.destroySoon();
  log('client', state(client).writableEnded, client.destroyed);
  await both(client, peer);
});

scenario('destroySoon twice', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.destroySoon();
  client.destroySoon();
  await both(client, peer);
});

scenario('destroySoon after end', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.end('x');
  await once(client, 'finish');
  client.destroySoon();
  await both(client, peer);
});

scenario('state after close', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.end('12345');
  await both(client, peer);
  log('client', state(client));
  log('peer', state(peer));
  log('client', client.address(), client.remoteAddress, client.localPort);
});

scenario('an aborted signal', async (net, log, t) => {
  const controller = new AbortController();
  const { client, peer } = await pair(net, log, t, { client: { signal: controller.signal } });
  controller.abort();
  await both(client, peer);
});

scenario('an aborted signal while connecting', async (net, log, t) => {
  const controller = new AbortController();
  const server = await serve(net, t);
  const client = watch(log, 'client', dialling(t, server, { net, signal: controller.signal }), {
    except: ['connectionAttempt'],
  });
  controller.abort();
  await close(client);
});

scenario('leaving an iteration', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false });
  peer.write('x');
  for await (const chunk of client) {
    log('client', String(chunk));
    break;
  }
  log('client', state(client).destroyed);
  await close(client);
});

scenario('an iteration to the end', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false });
  peer.end('x');
  for await (const chunk of client) log('client', String(chunk));
  log('client', 'left', client.destroyed);
  await both(client, peer);
});

// ----------------------------------------------------------------------------------------------------------------- reset

scenario('a reset', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  log('client', client.resetAndDestroy() === client, state(client));
  await both(client, peer);
});

scenario('a reset while connecting', async (net, log, t) => {
  const server = await serve(net, t, (socket) => watch(log, 'peer', socket));
  const client = watch(log, 'client', dialling(t, server, { net }), { except: ['connectionAttempt'] });
  client.resetAndDestroy();
  await close(client);
});

scenario('a reset of a fresh socket', async (net, log, t) => {
  const client = watch(log, 'client', keep(t, new net.Socket()));
  client.resetAndDestroy();
  await close(client);
});

scenario('a reset of a closed socket', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.destroy();
  await both(client, peer);
  attempt(log, 'client', 'resetAndDestroy', () => client.resetAndDestroy());
  await turns(3);
});

scenario('a reset of a unix socket', async (net, log, t) => {
  const { client } = await pair(net, log, t, { listen: { path: join(await folder(t), 's') } });
  attempt(log, 'client', 'resetAndDestroy', () => client.resetAndDestroy());
});

scenario('a reset with bytes unread', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.pause();
  peer.write('unread');
  await turns(5);
  log('client', client.bytesRead, client.readableLength);
  peer.resetAndDestroy();
  await both(client, peer);
});

scenario('a reset after data', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  peer.write('read');
  await once(client, 'data');
  peer.resetAndDestroy();
  await both(client, peer);
  log('client', state(client));
});

scenario('a reset after the end of the other side', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { server: { allowHalfOpen: true } });
  client.end('x');
  await once(peer, 'end');
  peer.resetAndDestroy();
  await both(client, peer);
});

scenario('a write to a reset connection', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  peer.resetAndDestroy();
  await once(client, 'error');
  client.write('x', (e) => log('callback', (e as NodeJS.ErrnoException).code));
  await both(client, peer);
});

// ---------------------------------------------------------------------------------------------------------------- errors

scenario('refused', async (net, log, t) => {
  const port = REFUSED_PORT;
  const client = watch(log, 'client', dialling(t, { port, host: '127.0.0.1' }, { net }));
  client.on('error', () => log('client', 'in error', state(client)));
  await close(client);
  log('client', state(client));
});

scenario('refused with a write and an end', async (net, log, t) => {
  const port = REFUSED_PORT;
  const client = watch(log, 'client', dialling(t, { port, host: '127.0.0.1' }, { net }), {
    except: ['connectionAttempt', 'connectionAttemptFailed'],
  });
  client.write('a', (e) => log('callbacks', 'a', error(e)));
  client.end('b', () => log('callbacks', 'end'));
  await close(client);
});

scenario('refused on a unix socket', async (net, log, t) => {
  const path = join(await folder(t), 'none');
  const client = watch(log, 'client', dialling(t, { path }, { net }));
  log('client', 'sync');
  await close(client);
});

scenario('refused with a local address', async (net, log, t) => {
  const port = REFUSED_PORT;
  const client = watch(log, 'client', dialling(t, { port, host: '127.0.0.1', localAddress: '127.0.0.1' }, { net }), {
    except: ['connectionAttempt'],
  });
  await close(client);
});

scenario('a local address that is not ours', async (net, log, t) => {
  const client = watch(log, 'client', dialling(t, { port: 9, host: '127.0.0.1', localAddress: '192.0.2.7' }, { net }), {
    except: ['connectionAttempt'],
  });
  await close(client);
});

scenario('a lookup that fails', async (net, log, t) => {
  const lookup = ((_host: string, _options: object, callback: (e: Error) => void) =>
    setImmediate(
      callback,
      Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }),
    )) as unknown as LookupFunction;
  const client = watch(log, 'client', dialling(t, { port: 1, host: 'nowhere', lookup }, { net }));
  log('client', state(client));
  await close(client);
});

scenario('a lookup that answers', async (net, log, t) => {
  const server = await serve(net, t, (socket) => socket.end());
  const lookup: LookupFunction = (host, options, callback) => {
    log('lookup', host, { ...options });
    setImmediate(() =>
      options.all ? callback(null, [{ address: '127.0.0.1', family: 4 }]) : callback(null, '127.0.0.1', 4),
    );
  };
  const client = watch(log, 'client', dialling(t, { port: portOf(server), host: 'mill', lookup }, { net })).resume();
  await close(client);
});

scenario('a lookup for one family', async (net, log, t) => {
  const server = await serve(net, t, (socket) => socket.end());
  const lookup: LookupFunction = (host, options, callback) => {
    log('lookup', host, { ...options });
    setImmediate(() => callback(null, '127.0.0.1', 4));
  };
  const client = watch(
    log,
    'client',
    dialling(t, { port: portOf(server), host: 'mill', family: 4, lookup, autoSelectFamily: false }, { net }),
  ).resume();
  await close(client);
});

scenario('a lookup with a wrong address', async (net, log, t) => {
  const lookup = ((_host: string, _options: object, callback: (e: null, a: unknown, f: number) => void) =>
    setImmediate(callback, null, 'x', 4)) as unknown as LookupFunction;
  const client = watch(
    log,
    'client',
    dialling(t, { port: 1, host: 'wrong', lookup, autoSelectFamily: false }, { net }),
  );
  await close(client);
});

scenario('a lookup with two addresses, both refused', async (net, log, t) => {
  const port = REFUSED_PORT;
  const addresses = [
    { address: '127.0.0.2', family: 4 },
    { address: '127.0.0.1', family: 4 },
  ];
  const lookup = ((_host: string, _options: object, callback: (e: null, a: object[]) => void) =>
    setImmediate(callback, null, addresses)) as unknown as LookupFunction;
  const client = watch(
    log,
    'client',
    dialling(t, { port, host: 'two', lookup, autoSelectFamily: true, autoSelectFamilyAttemptTimeout: 5000 }, { net }),
  );
  await close(client);
  log('client', client.autoSelectFamilyAttemptedAddresses?.length);
});

scenario('a lookup with two addresses, the second answers', async (net, log, t) => {
  const server = await serve(net, t, (socket) => socket.end());
  const addresses = [
    { address: '127.0.0.2', family: 4 },
    { address: '127.0.0.1', family: 4 },
  ];
  const lookup = ((_host: string, _options: object, callback: (e: null, a: object[]) => void) =>
    setImmediate(callback, null, addresses)) as unknown as LookupFunction;
  const client = watch(
    log,
    'client',
    dialling(
      t,
      { port: portOf(server), host: 'two', lookup, autoSelectFamily: true, autoSelectFamilyAttemptTimeout: 5000 },
      { net },
    ),
  ).resume();
  await close(client);
  log('client', client.autoSelectFamilyAttemptedAddresses?.length);
});

scenario('a write after end', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.end('x');
  log(
    'client',
    client.write('y', (e) => log('callback', error(e))),
  );
  await both(client, peer);
});

scenario('a write after destroy', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.destroy();
  log(
    'client',
    client.write('y', (e) => log('callback', error(e))),
  );
  await both(client, peer);
});

scenario('an end after destroy', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.destroy();
  client.end('y', () => log('callback', 'called'));
  await both(client, peer);
});

scenario('a write after the other side ended', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  peer.end();
  await once(client, 'end');
  client.on('error', () => {});
  log(
    'client',
    client.write('y', (e) => log('callback', error(e))),
  );
  await both(client, peer);
});

scenario('EPIPE on a unix socket', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, {
    listen: { path: join(await folder(t), 's') },
    client: { allowHalfOpen: true },
  });
  peer.destroy();
  await once(client, 'end');
  client.write('x', (e) => log('client', 'callback', error(e)));
  await both(client, peer);
});

scenario('EADDRINUSE', async (net, log, t) => {
  const taken = await serve(net, t);
  const server = keep(t, net.createServer());
  for (const event of ['listening', 'error', 'close']) server.on(event, (e) => log('server', event, error(e)));
  server.listen(portOf(taken), '127.0.0.1', () => log('server', 'callback'));
  log('server', 'sync', server.listening, server.address());
  await once(server, 'error');
  await turns(3);
  log('server', server.listening, server.address());
});

scenario('EADDRINUSE of a path', async (net, log, t) => {
  const path = join(await folder(t), 's');
  await serveWith(t, undefined, { net, listen: { path } });
  const server = keep(t, net.createServer());
  server.on('error', (e) => log('server', error(e)));
  server.listen(path);
  await once(server, 'error');
});

scenario('a listen address that is not ours', async (net, log, t) => {
  const server = keep(t, net.createServer());
  server.on('error', (e) => log('server', error(e)));
  server.listen(0, '192.0.2.7');
  await once(server, 'error');
});

scenario('a path in no folder', async (net, log, t) => {
  const server = keep(t, net.createServer());
  server.on('error', (e) => log('server', error(e)));
  server.listen(join(await folder(t), 'no', 'folder'));
  await once(server, 'error');
});

scenario('a descriptor that is none', async (net, log, t) => {
  const server = keep(t, net.createServer());
  server.on('error', (e) => log('server', error(e)));
  server.listen({ fd: 987654 });
  await once(server, 'error');
});

// ---------------------------------------------------------------------------------------------------------- odd arguments

for (const [name, args] of [
  ['nothing', []],
  ['an empty object', [{}]],
  ['null', [null]],
  ['undefined', [undefined]],
  ['port -1', [-1]],
  ['port 65536', [65536]],
  ['port 1.5', [{ port: 1.5 }]],
  ['port as words', [{ port: 'words' }]],
  ['an empty port', [{ port: '' }]],
  ['port true', [{ port: true }]],
  ['port NaN', [{ port: Number.NaN }]],
  ['port as an array', [{ port: [] }]],
  ['port null', [{ port: null }]],
  ['a path that is a number', [{ path: 1 }]],
  ['a host that is a number', [{ port: 1, host: 1 }]],
  ['a host that is null', [{ port: 99999, host: null }]],
  ['family that is a word', [{ port: 99999, host: '127.0.0.1', family: 'x' }]],
  ['hints that are none', [{ port: 1, host: 'x', hints: 3 }]],
  ['a lookup that is none', [{ port: 1, host: 'x', lookup: 1 }]],
  ['localAddress that is a name', [{ port: 1, host: '127.0.0.1', localAddress: 'name' }]],
  ['localPort that is text', [{ port: 1, host: '127.0.0.1', localPort: '1' }]],
  ['localPort that is too large', [{ port: 99999, host: '127.0.0.1', localPort: 99999 }]],
  ['autoSelectFamily that is a number', [{ port: 1, autoSelectFamily: 1 }]],
  [
    'autoSelectFamilyAttemptTimeout that is 0',
    [{ port: 1, autoSelectFamily: true, autoSelectFamilyAttemptTimeout: 0 }],
  ],
] as [string, unknown[]][]) {
  scenario(`connect with ${name}`, async (net, log, t) => {
    const client = keep(t, new net.Socket());
    client.on('error', () => {});
    attempt(log, 'client', 'connect', () => (client.connect as (...args: unknown[]) => Socket)(...args));
    log('client', client.connecting, client.destroyed);
  });
}

for (const [name, args] of [
  ['port -1', [-1]],
  ['port 65536', [65536]],
  ['port NaN', [Number.NaN]],
  ['port as words', [{ port: 'words' }]],
  ['an empty port', [{ port: '' }]],
  ['true', [true]],
  ['false', [false]],
  ['a symbol-less object', [{}]],
  ['an array', [[]]],
  ['a host only', [{ host: '127.0.0.1' }]],
  ['a path that is an object', [{ path: {} }]],
  ['a descriptor of -1', [{ fd: -1 }]],
  ['a signal that is none', [{ port: 0, signal: 'x' }]],
  ['reusePort of a path', [{ port: 70000, reusePort: true }]],
] as [string, unknown[]][]) {
  scenario(`listen with ${name}`, async (net, log, t) => {
    const server = keep(t, net.createServer());
    server.on('error', (e) => log('server', 'error', (e as NodeJS.ErrnoException).code));
    attempt(log, 'server', 'listen', () => (server.listen as (...args: unknown[]) => Server)(...args));
    log('server', server.listening);
    await turns(3);
  });
}

for (const [name, make] of [
  ['createServer(true)', (net) => net.createServer(true as never)],
  ['createServer("x")', (net) => net.createServer('x' as never)],
  ['createServer(null)', (net) => net.createServer(null as never)],
  ['createServer with a highWaterMark of text', (net) => net.createServer({ highWaterMark: 'x' } as never)],
  ['createServer with a highWaterMark of -1', (net) => net.createServer({ highWaterMark: -1 })],
  ['createServer with a keepAlive of text', (net) => net.createServer({ keepAlive: 'x' } as never)],
  ['new Socket with an fd of -1', (net) => new net.Socket({ fd: -1 })],
  ['new Socket with an fd of text', (net) => new net.Socket({ fd: 'x' } as never)],
  ['new Socket with objectMode', (net) => new net.Socket({ objectMode: true } as never)],
  ['new Socket with null', (net) => new net.Socket(null as never)],
  ['new Socket with undefined', (net) => new net.Socket(undefined)],
  ['new Socket with a highWaterMark of -1', (net) => new net.Socket({ highWaterMark: -1 } as never)],
  ['Socket without new', (net) => (net.Socket as unknown as () => Socket)()],
  ['Server without new', (net) => (net.Server as unknown as () => Server)()],
] as [string, (net: Net) => unknown][]) {
  scenario(name, async (net, log) => {
    attempt(log, 'main', name, () => make(net));
  });
}

scenario('writes of odd things', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  for (const value of [undefined, null, 1, true, {}, [], Symbol.iterator])
    attempt(log, 'client', 'write', () => client.write(value as never));
  attempt(log, 'client', 'write with a bad encoding', () => client.write('x', 'nope' as never));
  attempt(log, 'client', 'end of a number', () => client.end(5 as never));
  log('client', state(client));
  client.end('fine');
  await both(client, peer);
});

scenario('setTimeout of odd things', async (net, log, t) => {
  const client = keep(t, new net.Socket());
  for (const value of ['1', -1, Number.NaN, Number.POSITIVE_INFINITY, null, undefined, {}, 0, 1.5])
    attempt(log, 'client', `setTimeout ${inspect(value)}`, () => client.setTimeout(value as never));
  attempt(log, 'client', 'setTimeout with a callback of text', () => client.setTimeout(1, 'x' as never));
  client.setTimeout(0);
});

scenario('setEncoding of odd things', async (net, log, t) => {
  const { client } = await pair(net, log, t);
  attempt(log, 'client', 'setEncoding nope', () => client.setEncoding('nope' as never));
  attempt(log, 'client', 'setEncoding', () => client.setEncoding());
  log('client', client.readableEncoding);
});

scenario('methods before connecting', async (net, log, t) => {
  const client = keep(t, new net.Socket());
  for (const method of [
    'setNoDelay',
    'setKeepAlive',
    'ref',
    'unref',
    'pause',
    'resume',
    'address',
    'cork',
    'uncork',
    'setEncoding',
  ] as const)
    attempt(log, 'client', method, () => (client[method] as () => unknown)());
  log('client', state(client));
});

scenario('methods after close', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.destroy();
  await both(client, peer);
  for (const method of [
    'setNoDelay',
    'setKeepAlive',
    'ref',
    'unref',
    'pause',
    'address',
    'cork',
    'uncork',
    'destroy',
    'destroySoon',
  ] as const)
    attempt(log, 'client', method, () => (client[method] as () => unknown)());
  await turns(3);
});

scenario('isIP of odd things', async (net, log) => {
  for (const value of [
    '1.2.3.4',
    '::1',
    '::ffff:1.2.3.4',
    'fe80::1%lo',
    '1.2.3',
    '01.2.3.4',
    '',
    'x',
    undefined,
    null,
    4,
    { toString: () => '1.1.1.1' },
    '::1\0',
    '1:2:3:4:5:6:7::',
    '0:0:0:0:0:0:0:0:0',
  ])
    log('main', String(value), net.isIP(value as string), net.isIPv4(value as string), net.isIPv6(value as string));
});

scenario('what the module exports', async (net, log) => {
  for (const name of [
    'createServer',
    'createConnection',
    'connect',
    'Server',
    'Socket',
    'Stream',
    'BlockList',
    'SocketAddress',
    'isIP',
    'isIPv4',
    'isIPv6',
    'getDefaultAutoSelectFamily',
    'setDefaultAutoSelectFamily',
    'getDefaultAutoSelectFamilyAttemptTimeout',
    'setDefaultAutoSelectFamilyAttemptTimeout',
  ]) {
    const value = (net as unknown as Record<string, unknown>)[name];
    log('main', name, typeof value, typeof value === 'function' ? [value.name, value.length] : value);
  }
  log('main', net.getDefaultAutoSelectFamily(), net.getDefaultAutoSelectFamilyAttemptTimeout());
});

scenario('what the prototypes of the running line have', async (net, log) => {
  const visible = (of: object): string[] =>
    Object.getOwnPropertyNames(of)
      .filter((name) => !name.startsWith('_'))
      .sort();
  for (const name of visible(nodeNet.Socket.prototype)) log('Socket', name, name in net.Socket.prototype);
  for (const name of visible(nodeNet.Server.prototype)) log('Server', name, name in net.Server.prototype);
  log('main', net.Socket.prototype instanceof Duplex, net.Server.prototype instanceof EventEmitter);
});

// ------------------------------------------------------------------------------------------------------- reading, pausing

scenario('pause and resume', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.pause();
  peer.write('waits');
  await turns(10);
  log('client', 'paused', client.isPaused(), client.readableFlowing);
  client.resume();
  await once(client, 'data');
  client.end();
  await both(client, peer);
});

scenario('an end for a paused socket', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.pause();
  peer.end();
  await both(client, peer);
});

scenario('an end with data for a paused socket', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.pause();
  peer.end('x');
  await turns(20);
  log('client', state(client).readableEnded, client.readableLength, client.bytesRead);
  client.resume();
  await both(client, peer);
});

scenario('pauseOnConnect', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { server: { pauseOnConnect: true } });
  log('peer', peer.isPaused(), peer.readableFlowing);
  client.end('x');
  await turns(10);
  log('peer', peer.bytesRead, peer.readableLength);
  peer.resume();
  await both(client, peer);
});

scenario('readable and read', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false });
  client.on('readable', () => {
    for (let piece = client.read(2); piece !== null; piece = client.read(2)) log('client', String(piece));
  });
  peer.end('abcde');
  await both(client, peer);
});

scenario('setEncoding', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false });
  client.setEncoding('utf8');
  let text = '';
  client.on('data', (chunk) => {
    log('client', typeof chunk);
    text += chunk;
  });
  peer.write(Buffer.from([0xe2, 0x82]));
  await until(() => client.bytesRead === 2, 'half a character');
  peer.end(Buffer.from([0xac]));
  await both(client, peer);
  log('client', text);
});

scenario('onread', async (net, log, t) => {
  const server = await serve(net, t, (socket) => socket.end('abcdefgh'));
  const buffer = Buffer.alloc(3);
  let got = '';
  const client = watch(
    log,
    'client',
    dialling(t, server, {
      net,
      onread: {
        buffer,
        callback(count, given) {
          got += given.subarray(0, count).toString();
          log('client', 'onread', given === buffer, count <= 3);
          return true;
        },
      },
    }),
    { except: ['connectionAttempt'] },
  );
  await close(client);
  log('client', got, client.bytesRead);
});

scenario('unshift', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false });
  client.once('data', (chunk) => {
    log('client', String(chunk));
    client.pause();
    client.unshift('again');
    client.once('data', (second) => log('client', String(second)));
    client.resume();
  });
  peer.end('x');
  await both(client, peer);
});

scenario('pipe to itself', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  peer.pipe(peer);
  client.end('echo');
  await both(client, peer);
});

// ------------------------------------------------------------------------------------------------------- writing, pressure

scenario('cork and uncork', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.cork();
  client.write('a', () => log('client', 'a'));
  client.write('b', () => log('client', 'b'));
  log('client', client.writableCorked, client.writableLength, client.bytesWritten);
  await turns(3);
  client.uncork();
  await once(peer, 'data');
  client.end();
  await both(client, peer);
});

scenario('a corked write above the mark', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, {
    client: { writableHighWaterMark: 10 } as SocketConstructorOpts,
    data: false,
  });
  peer.resume();
  client.cork();
  log('client', client.write('123456789'), client.writableNeedDrain);
  log('client', client.write('0'), client.writableNeedDrain);
  client.uncork();
  await once(client, 'drain');
  log('client', client.writableLength, client.writableNeedDrain);
});

scenario('drain after a peer that waits', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false });
  peer.pause();
  client.on('drain', () => log('client', 'length', client.writableLength));
  log('client', client.write(Buffer.alloc(32 * 1024 * 1024)), client.bytesWritten);
  peer.resume();
  await once(client, 'drain');
  client.end();
  await both(client, peer);
  log('peer', peer.bytesRead);
});

scenario('writes before the connection', async (net, log, t) => {
  const server = await serve(net, t, (socket) => {
    let got = '';
    socket.on('data', (chunk) => (got += chunk));
    socket.on('end', () => log('peer', got));
  });
  const client = watch(log, 'client', dialling(t, server, { net }), {
    except: ['connectionAttempt'],
    apart: ['ready'],
  });
  log(
    'client',
    client.write('a', () => log('client', 'a')),
    client.writableLength,
    client.bytesWritten,
  );
  client.write(Buffer.from('b'), () => log('client', 'b'));
  client.end('c', () => log('client', 'end callback'));
  log('client', client.bytesWritten, client.writableLength);
  client.resume();
  await close(client);
});

scenario('many writes before the connection above the mark', async (net, log, t) => {
  const server = await serve(net, t, (socket) => void socket.resume());
  const client = watch(log, 'client', dialling(t, server, { net, writableHighWaterMark: 3 } as SocketConstructorOpts), {
    except: ['connectionAttempt'],
    apart: ['ready'],
  });
  log('client', client.write('ab'), client.write('cd'), client.write('ef'));
  await once(client, 'drain');
  log('client', client.bytesWritten);
});

scenario('empty writes', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.write('', () => log('client', 'text'));
  client.write(Buffer.alloc(0), () => log('client', 'buffer'));
  client.end('', () => log('client', 'end callback'));
  await both(client, peer);
  log('client', client.bytesWritten);
});

scenario('strings in encodings', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false });
  const chunks: Buffer[] = [];
  peer.on('data', (chunk: Buffer) => chunks.push(chunk));
  client.cork();
  client.write('é', 'latin1');
  client.write('00ff', 'hex');
  client.write('AP8=', 'base64');
  client.write('é', 'ucs2');
  client.write('é');
  client.uncork();
  log('client', client.bytesWritten);
  client.end('é', 'latin1');
  await both(client, peer);
  log('peer', Buffer.concat(chunks).toString('hex'));
});

scenario('setDefaultEncoding', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false });
  attempt(log, 'client', 'nope', () => client.setDefaultEncoding('nope' as never));
  attempt(log, 'client', 'hex', () => client.setDefaultEncoding('hex'));
  client.end('c3a9');
  const [chunk] = await once(peer, 'data');
  log('peer', String(chunk));
  await both(client, peer);
});

// -------------------------------------------------------------------------------------------------------------- timeouts

scenario('a timeout', async (net, log, t) => {
  const { client } = await pair(net, log, t);
  log('client', client.timeout);
  client.setTimeout(15, () => log('client', 'callback'));
  log('client', client.timeout, client.listenerCount('timeout'));
  await once(client, 'timeout');
  log('client', client.timeout, state(client).destroyed);
});

scenario('a timeout taken back', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  const callback = (): void => log('client', 'callback');
  client.setTimeout(10, callback);
  client.setTimeout(0, callback);
  peer.setTimeout(40);
  await once(peer, 'timeout');
  log('client', client.timeout, client.listenerCount('timeout'));
});

scenario('a timeout while looking up', async (net, log, t) => {
  const client = watch(log, 'client', dialling(t, { port: 1, host: 'slow', lookup: () => {}, timeout: 15 }, { net }));
  await once(client, 'timeout');
  log('client', client.connecting);
  client.destroy();
  await close(client);
});

scenario('a timeout then the end', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  client.setTimeout(15, () => client.setTimeout(0).end('idle'));
  await both(client, peer);
});

// --------------------------------------------------------------------------------------------------------------- servers

scenario('a server from listen to close', async (net, log, t) => {
  const server = keep(t, net.createServer());
  for (const event of ['listening', 'connection', 'close', 'error', 'drop'])
    server.on(event, () => log('server', event, server.listening));
  log('server', server.listening, server.address());
  log('server', server.listen(0, '127.0.0.1', () => log('server', 'callback')) === server);
  log('server', server.listening, server.address());
  process.nextTick(() => log('server', 'tick'));
  await once(server, 'listening');
  const client = await dial(t, server, { net });
  await once(client.end().resume(), 'close');
  log('server', server.close(() => log('server', 'close callback')) === server, server.listening, server.address());
  process.nextTick(() => log('server', 'tick'));
  await once(server, 'close');
});

scenario('close a server with a connection', async (net, log, t) => {
  const { client, peer, server } = await pair(net, log, t);
  server.on('close', () => log('peer', 'server closed'));
  server.close(() => log('peer', 'server close callback'));
  await turns(5);
  client.write('still here');
  await once(peer, 'data');
  peer.destroy();
  await both(client, peer);
});

scenario('close a server twice', async (net, log, t) => {
  const server = await serve(net, t);
  server.on('close', () => log('server', 'close'));
  server.close((e) => log('server', 'first', error(e)));
  server.close((e) => log('server', 'second', error(e)));
  await once(server, 'close');
  await turns(3);
});

scenario('close a server that never listened', async (net, log, t) => {
  const server = keep(t, net.createServer());
  server.on('close', () => log('server', 'close'));
  server.close((e) => log('server', 'callback', error(e)));
  await turns(5);
});

scenario('close a server in the tick of listen', async (net, log, t) => {
  const server = keep(t, net.createServer());
  for (const event of ['listening', 'close', 'error']) server.on(event, () => log('server', event));
  server.listen(0, '127.0.0.1');
  server.close();
  await once(server, 'close');
  await turns(5);
});

scenario('listen twice', async (net, log, t) => {
  const server = await serve(net, t);
  attempt(log, 'server', 'listen', () => server.listen(0));
  attempt(log, 'server', 'listen to a path', () => server.listen('/nowhere'));
});

scenario('listen twice in a tick', async (net, log, t) => {
  const server = keep(t, net.createServer());
  server.listen(0, '127.0.0.1');
  attempt(log, 'server', 'listen', () => server.listen(0));
  await once(server, 'listening');
});

scenario('listen again after close', async (net, log, t) => {
  const server = await serve(net, t);
  for (const event of ['listening', 'close', 'error']) server.on(event, () => log('server', event));
  server.close();
  attempt(log, 'server', 'listen in the tick of close', () => server.listen(0, '127.0.0.1').listening);
  await turns(20);
  log('server', server.listening);
});

scenario('listen in the close listener', async (net, log, t) => {
  const server = await serve(net, t, (socket) => socket.end('again'));
  server.close();
  await once(server, 'close');
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = watch(log, 'client', await dial(t, server, { net }));
  await close(client);
});

scenario('listen with an aborted signal', async (net, log, t) => {
  const server = keep(t, net.createServer());
  for (const event of ['listening', 'close', 'error']) server.on(event, () => log('server', event));
  server.listen({ port: 0, host: '127.0.0.1', signal: AbortSignal.abort() });
  await once(server, 'close');
  await turns(3);
});

scenario('maxConnections', async (net, log, t) => {
  const server = await serve(net, t);
  server.maxConnections = 1;
  server.on('connection', () => log('server', 'connection'));
  server.on('drop', (data) => log('server', 'drop', { ...data }));
  await dial(t, server, { net });
  const second = watch(log, 'second', dialling(t, server, { net }), { except: ['connectionAttempt'] });
  await close(second);
});

scenario('maxConnections 0', async (net, log, t) => {
  const server = await serve(net, t);
  server.maxConnections = 0;
  server.on('connection', () => log('server', 'connection'));
  server.on('drop', () => log('server', 'drop'));
  const client = dialling(t, server, { net });
  client.on('error', () => {}).resume();
  await new Promise((resolve) => void server.once('drop', resolve).once('connection', resolve));
});

scenario('getConnections', async (net, log, t) => {
  const { client, server } = await pair(net, log, t);
  await new Promise<void>((resolve) => {
    log(
      'server',
      server.getConnections((e, count) => {
        log('server', 'callback', e, count);
        resolve();
      }) === server,
    );
    log('server', 'sync');
  });
  server.close();
  await new Promise<void>(
    (resolve) => void server.getConnections((e, count) => resolve(log('server', 'closing', e, count))),
  );
  client.destroy();
});

scenario('asyncDispose of a server', async (net, log, t) => {
  const server = await serve(net, t);
  server.on('close', () => log('server', 'close'));
  log('server', await server[Symbol.asyncDispose]());
  log('server', await server[Symbol.asyncDispose]());
});

scenario('addresses', async (net, log, t) => {
  const { client, peer, server } = await pair(net, log, t);
  log('server', server.address());
  for (const [name, socket] of [
    ['client', client],
    ['peer', peer],
  ] as const) {
    log(name, socket.address(), socket.localAddress, socket.localFamily, socket.remoteAddress, socket.remoteFamily);
    log(name, typeof socket.localPort, typeof socket.remotePort);
  }
  client.destroy();
  log('client', client.address(), client.localAddress, client.remoteAddress, client.remoteFamily);
  await both(client, peer);
});

scenario('addresses of a unix socket', async (net, log, t) => {
  const { client, peer, server } = await pair(net, log, t, { listen: { path: join(await folder(t), 's') } });
  log('server', server.address());
  for (const [name, socket] of [
    ['client', client],
    ['peer', peer],
  ] as const)
    log(
      name,
      socket.address(),
      socket.localAddress,
      socket.localPort,
      socket.remoteAddress,
      socket.remotePort,
      socket.remoteFamily,
    );
});

scenario('a unix connection', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { listen: { path: join(await folder(t), 's') } });
  client.write('there');
  await once(peer, 'data');
  peer.end('and back');
  await both(client, peer);
});

scenario('connect again after close', async (net, log, t) => {
  const server = await serve(net, t, (socket) => socket.end('x'));
  const client = watch(log, 'client', dialling(t, server, { net }), { except: ['connectionAttempt'] });
  await close(client);
  log(
    'client',
    'again',
    client.connect({ port: portOf(server), host: '127.0.0.1' } as NetConnectOpts) === client,
    state(client),
  );
  await once(client, 'close');
});

scenario('connect again after a refusal', async (net, log, t) => {
  const port = REFUSED_PORT;
  const server = await serve(net, t, (socket) => socket.end('x'));
  const client = watch(log, 'client', dialling(t, { port, host: '127.0.0.1' }, { net }), {
    except: ['connectionAttempt', 'connectionAttemptFailed'],
  });
  await once(client, 'close').catch(() => once(client, 'close'));
  client.connect(portOf(server), '127.0.0.1');
  await once(client, 'close');
});

scenario('connect in the close listener', async (net, log, t) => {
  let count = 0;
  const server = await serve(net, t, (socket) => socket.end(`${count++}`));
  const client = watch(log, 'client', dialling(t, server, { net }), { except: ['connectionAttempt'] });
  await new Promise<void>((resolve) => {
    client.on('close', () => {
      if (count < 3) client.connect(portOf(server), '127.0.0.1');
      else resolve();
    });
  });
});

scenario('listeners of a fresh socket and of a connected one', async (net, log, t) => {
  const names = (socket: Socket): string[] => socket.eventNames().map(String).sort();
  log('client', names(new net.Socket()));
  const server = await serve(net, t, (socket) =>
    log(
      'peer',
      names(socket).filter((name) => name !== 'close' && name !== 'connect'),
    ),
  );
  const client = await dial(t, server, { net });
  log(
    'client',
    names(client).filter((name) => name !== 'close' && name !== 'connect'),
  );
});

scenario('the marks of sockets', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  log(
    'marks',
    client.readableHighWaterMark,
    client.writableHighWaterMark,
    peer.readableHighWaterMark,
    peer.writableHighWaterMark,
  );
  const other = new net.Socket({ highWaterMark: 5 } as SocketConstructorOpts);
  log(
    'marks',
    other.readableHighWaterMark,
    other.writableHighWaterMark,
    other.readableObjectMode,
    other.writableObjectMode,
  );
});

scenario('bytesRead and bytesWritten through a life', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { data: false });
  const counts = (): void => log('counts', client.bytesRead, client.bytesWritten, peer.bytesRead, peer.bytesWritten);
  counts();
  client.write('é');
  await once(peer, 'data');
  counts();
  peer.write(Buffer.alloc(10));
  await once(client, 'data');
  counts();
  client.end('x');
  client.resume();
  peer.resume();
  await both(client, peer);
  counts();
});

scenario('diagnostics channels', async (net, log, t) => {
  const { channel } = await import('node:diagnostics_channel');
  // Shared by everything in the process: only what is ours is written down.
  const mine = new Set<unknown>();
  const seen: [string, unknown][] = [];
  const onClient = (message: unknown): void => void seen.push(['client', (message as { socket: unknown }).socket]);
  const onServer = (message: unknown): void => void seen.push(['server', (message as { socket: unknown }).socket]);
  channel('net.client.socket').subscribe(onClient);
  channel('net.server.socket').subscribe(onServer);
  t.after(() => {
    channel('net.client.socket').unsubscribe(onClient);
    channel('net.server.socket').unsubscribe(onServer);
  });
  const { client, peer } = await pair(net, log, t);
  mine.add(client).add(peer);
  for (const [name, socket] of seen) if (mine.has(socket)) log('channel', name, socket === client ? 'client' : 'peer');
});

// ------------------------------------------------------------------------------------------- connect() on a busy socket

scenario('connect() while the socket connects', async (net, log, t) => {
  const server = await serve(net, t);
  const socket = watch(log, 'client', keep(t, new net.Socket()));
  socket.connect(portOf(server), '127.0.0.1', () => log('client', 'first'));
  socket.connect(portOf(server), '127.0.0.1', () => log('client', 'second'));
  await both(socket);
  log('client', socket.readyState, socket.connecting);
});

scenario('connect() on a connected unix socket', async (net, log, t) => {
  const server = await serveWith(t, undefined, { net, listen: { path: join(await folder(t), 's') } });
  const socket = watch(log, 'client', await dial(t, server, { net }));
  socket.connect({ path: server.address() as string }, () => log('client', 'second'));
  log('client', socket.readyState, socket.pending);
  await both(socket);
});

scenario('connect() on a connected socket announces the connection again, once', async (net, log, t) => {
  const { client, peer, server } = await pair(net, log, t);
  client.connect(portOf(server), '127.0.0.1', () => log('client', 'again'));
  log('client', client.readyState, client.pending);
  client.write('to the same peer');
  await Promise.all([once(client, 'ready'), once(peer, 'data')]);
  client.connect(portOf(server), '127.0.0.1');
  await both(client);
});

scenario('connect() on an accepted socket', async (net, log, t) => {
  const { peer, server } = await pair(net, log, t, { apart: ['end'] });
  peer.connect(portOf(server), '127.0.0.1');
  await both(peer);
});

scenario('connect() on a socket whose writing side has ended', async (net, log, t) => {
  const { client, server } = await pair(net, log, t, { server: { allowHalfOpen: true } });
  client.end();
  await once(client, 'finish');
  client.connect(portOf(server), '127.0.0.1');
  await both(client);
});

// ----------------------------------------------------------------------------------------------- what else is looked at

scenario('callbacks of writes before the connection', async (net, log, t) => {
  const server = await serve(net, t, (socket) => socket.resume());
  const socket = watch(log, 'client', keep(t, new net.Socket()));
  socket.connect(portOf(server), '127.0.0.1', () => log('client', 'listener'));
  socket.write('first', () => log('client', 'first written', socket.bytesWritten));
  socket.write('second', () => log('client', 'second written', socket.bytesWritten));
  socket.end('third', () => log('client', 'ended'));
  log('client', socket.bytesWritten, socket.bufferSize, socket.writableLength);
  await both(socket);
  log('client', socket.bytesWritten, socket.bufferSize);
});

scenario('a large write before the connection', async (net, log, t) => {
  const server = await serve(net, t, (socket) => socket.resume());
  const socket = watch(log, 'client', keep(t, new net.Socket()));
  socket.connect(portOf(server), '127.0.0.1');
  socket.end(Buffer.alloc(8_388_608), () => log('client', 'ended', socket.bytesWritten));
  log('client', socket.bytesWritten);
  await both(socket);
});

scenario('readyState of a socket that closes by halves', async (net, log, t) => {
  const half = { allowHalfOpen: true };
  const { client, peer } = await pair(net, log, t, { server: half, client: half });
  log('client', client.readyState);
  client.end();
  log('client', client.readyState);
  await once(peer.resume(), 'end');
  log('peer', peer.readyState);
  peer.end();
  await once(client.resume(), 'end');
  log('client', client.readyState);
  await both(client, peer);
  log('client', client.readyState, client.pending, client.bufferSize);
});

scenario('the remote address is kept only by who has read it', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t);
  log('client', client.remoteAddress, client.remoteFamily);
  client.destroy();
  await both(client, peer);
  log('client', client.remoteAddress, client.remoteFamily, client.localAddress, client.address());
  log('peer', peer.remoteAddress, peer.localAddress);
});

scenario('hadError says whether an error closed the socket', async (net, log, t) => {
  const { client, peer } = await pair(net, log, t, { except: ['error'] });
  client.on('error', (reason) => log('client', reason.message));
  client.destroy(new Error('enough'));
  await both(client, peer);
});
