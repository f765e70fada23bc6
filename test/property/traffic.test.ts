import type { Socket } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import fc from 'fast-check';
import { engine } from 'millrace';
import { dialling, engineState, folder, leakGuard, type Stage, serve, turns, until } from '../support/net.ts';
import { End } from './support/end.ts';
import { holds, SECONDS, SHRINK_MS } from './support/holds.ts';
import { calmScript, isCalm, type Script, type Setting, setting, violentScript } from './support/script.ts';

await leakGuard();

/** For a run. */
const WAIT_MS = 8_000;
const limit = { timeout: SECONDS * 1000 + SHRINK_MS + 10_000 };

let paths = 0;

/** Plays one script on one connection. @returns what was wrong */
async function play(base: string, { isUnix, isEarly, client: c, peer: p }: Setting, script: Script): Promise<string[]> {
  const afters: (() => void | Promise<void>)[] = [];
  const stage: Stage = { after: (fn) => void afters.push(fn) };
  const { allowHalfOpen, highWaterMark } = p;
  try {
    let peer: End | undefined;
    const onConnection = (socket: Socket): void => {
      peer = new End('peer', socket, p);
    };
    const server = await serve(stage, onConnection, {
      server: { allowHalfOpen, ...(highWaterMark === undefined ? {} : { highWaterMark }) },
      ...(isUnix ? { listen: { path: join(base, `${paths++}`) } } : {}),
    });
    const marks = c.highWaterMark === undefined ? {} : { highWaterMark: c.highWaterMark };
    const client = new End('client', dialling(stage, server, { allowHalfOpen: c.allowHalfOpen, ...marks }), c);
    const connected = () => peer !== undefined || client.socket.destroyed;
    if (!isEarly) await until(connected, 'the connection', WAIT_MS);
    for (const [side, action] of script) {
      if (action.does === 'turns') await turns(action.count);
      else if (side === 'client') client.act(action);
      else {
        await until(connected, 'the connection', WAIT_MS);
        peer?.act(action);
      }
    }
    client.settle();
    // A client that was destroyed early may have been accepted all the same, and its peer then lives.
    await until(connected, 'the connection', WAIT_MS);
    if (peer === undefined) await turns(5);
    peer?.settle();
    await until(() => client.isClosed, "'close' of the client", WAIT_MS);
    if (peer === undefined) return client.complaints;
    await until(() => (peer as End).isClosed, "'close' of the peer", WAIT_MS);
    const mustBeComplete = isCalm(script);
    return [...client.judge(peer, mustBeComplete), ...peer.judge(client, mustBeComplete)];
  } finally {
    for (const fn of afters) await fn();
  }
}

/** What the engine still has in use, once it had the time to close everything. */
async function leftBehind(): Promise<string[]> {
  const inUse = async (): Promise<string[]> =>
    Object.entries((await engineState()) ?? {}).flatMap(([name, count]) => (count === 0 ? [] : [`${count} ${name}`]));
  for (let i = 0; i < 100 && (await inUse()).length > 0; i++) await turns(1);
  return inUse();
}

test('whatever two ends write, cork, pause, read and end, all bytes arrive', limit, async (t) => {
  const base = await folder(t);
  await holds(fc.tuple(setting, calmScript), async ([how, script]) => [
    ...(await play(base, how, script)),
    ...(await leftBehind()),
  ]);
});

// With node:net itself, a connection of such a script sometimes never closes (once in a minute or so, Node 20 and 24): the
// control has only the calm scripts. On the rings every script has to end.
const violent = { ...limit, skip: engine === 'node' && "node:net's own connections may never close" };

test('whoever destroys or resets, what arrives is the beginning of what was sent', violent, async (t) => {
  const base = await folder(t);
  await holds(fc.tuple(setting, violentScript), async ([how, script]) => [
    ...(await play(base, how, script)),
    ...(await leftBehind()),
  ]);
});

test('connections that live at the same time do not mix', violent, async (t) => {
  const base = await folder(t);
  const stories = fc.array(fc.tuple(setting, violentScript), { minLength: 2, maxLength: 8 });
  await holds(stories, async (list) =>
    (await Promise.all(list.map(([how, script]) => play(base, how, script)))).flat(),
  );
});
