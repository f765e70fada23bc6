/**
 * A relay between a client and a server: cuts what goes through into pieces, makes them wait, and dies when it is told.
 * On node:net itself, whatever the engine.
 */
import net, { type AddressInfo, type Socket } from 'node:net';
import fc from 'fast-check';
import { once, type Stage, turns } from '../../support/net.ts';

export interface Weather {
  /** Bytes of the pieces, and turns in front of them, again and again. */
  readonly pieces: readonly { readonly bytes: number; readonly waits: number }[];
  /** What happens when so many bytes have passed; without it, nothing does. */
  readonly death: { readonly afterBytes: number; readonly how: Death } | undefined;
}

const deaths = [
  'reset both',
  'reset client',
  'reset server',
  'end both',
  'end client',
  'end server',
  'vanish',
] as const;
type Death = (typeof deaths)[number];

export const weather: fc.Arbitrary<Weather> = fc.record({
  pieces: fc.array(
    fc.record({
      bytes: fc.oneof({ weight: 3, arbitrary: fc.integer({ min: 1, max: 40 }) }, fc.integer({ min: 1, max: 70_000 })),
      waits: fc.constantFrom(0, 0, 0, 1, 2),
    }),
    { minLength: 1, maxLength: 8 },
  ),
  death: fc.option(
    fc.record({
      afterBytes: fc.oneof(fc.nat(300), fc.nat(60_000)),
      how: fc.constantFrom(...deaths),
    }),
    { nil: undefined },
  ),
});

/** @returns the port in front of `port`. Each connection has the next weather of the list, the last one for ever. */
export async function relay(stage: Stage, port: number, weathers: readonly Weather[]): Promise<number> {
  const sockets = new Set<Socket>();
  let count = 0;
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const { pieces, death } = weathers[Math.min(count++, weathers.length - 1)] as Weather;
    const upstream = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    let passedBytes = 0;
    let isDead = false;
    let step = 0;
    const die = (how: Death): void => {
      isDead = true;
      if (how === 'reset both' || how === 'reset client') reset(client);
      if (how === 'reset both' || how === 'reset server') reset(upstream);
      if (how === 'reset client') upstream.end();
      if (how === 'reset server') client.end();
      // Half of an end is none: the other side is told, and what it still sends is thrown away.
      if (how === 'end both' || how === 'end client') client.end();
      if (how === 'end both' || how === 'end server') upstream.end();
      if (how === 'end client') reset(upstream);
      if (how === 'end server') reset(client);
      if (how === 'vanish') for (const socket of [client, upstream]) socket.destroy();
      for (const socket of [client, upstream]) socket.resume();
    };
    const pass = async (from: Socket, to: Socket): Promise<void> => {
      // To its end only, or the iterator destroys the socket, and its other direction with it.
      for await (const chunk of from.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        for (let at = 0; at < chunk.length && !isDead; step++) {
          const { bytes, waits } = pieces[step % pieces.length] as Weather['pieces'][0];
          if (waits > 0) await turns(waits);
          if (isDead) break;
          const piece = chunk.subarray(at, at + bytes);
          at += bytes;
          passedBytes += piece.length;
          if (!to.write(piece)) await room(to);
          if (death !== undefined && passedBytes >= death.afterBytes && !isDead) die(death.how);
        }
      }
      if (!isDead) to.end();
    };
    const gone = (other: Socket) => (): void => {
      if (!isDead) reset(other);
      isDead = true;
    };
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      socket.on('error', gone(other));
      pass(socket, other).catch(gone(other));
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stage.after(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  return (server.address() as AddressInfo).port;
}

/** Whichever comes first; nothing is left behind of the other. */
function room(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const onRoom = (): void => {
      socket.off('drain', onRoom).off('close', onRoom);
      resolve();
    };
    if (socket.destroyed) resolve();
    else socket.on('drain', onRoom).on('close', onRoom);
  });
}

/** libuv resets nothing that is being shut down, and Node then forgets the socket without closing it. */
function reset(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}
