import { join } from 'node:path';
import test from 'node:test';
import fc from 'fast-check';
import { connect, listen } from 'millrace/direct';
import { engineState, folder, leakGuard, turns, until, within } from '../support/net.ts';
import {
  calmDirectScript,
  DirectEnd,
  type DirectScript,
  type DirectSetting,
  directSetting,
  violentDirectScript,
} from './support/direct-end.ts';
import { holds, SECONDS, SHRINK_MS } from './support/holds.ts';

await leakGuard();

const WAIT_MS = 8_000;
const limit = { timeout: SECONDS * 1000 + SHRINK_MS + 10_000 };

interface Story {
  isUnix: boolean;
  client: DirectSetting;
  peer: DirectSetting;
  script: DirectScript;
}

const story = (script: fc.Arbitrary<DirectScript>): fc.Arbitrary<Story> =>
  fc.record({ isUnix: fc.boolean(), client: directSetting, peer: directSetting, script });

let paths = 0;

/** Plays one story on one connection. @returns what was wrong */
async function play(base: string, { isUnix, script, ...how }: Story): Promise<string[]> {
  const [client, peer] = [new DirectEnd('client', how.client), new DirectEnd('peer', how.peer)];
  const place = isUnix ? { path: join(base, `${paths++}`) } : { port: 0, hostname: '127.0.0.1' };
  const server = await listen({ ...peer.options, ...place });
  try {
    const to = isUnix ? place : { port: server.port, hostname: '127.0.0.1' };
    await within(connect({ ...client.options, ...to }), 'the connection', WAIT_MS);
    await until(() => peer.connection !== undefined, 'the peer', WAIT_MS);
    for (const [side, action] of script) {
      if (action.does === 'turns') await turns(action.count);
      else (side === 'client' ? client : peer).act(action);
    }
    client.settle();
    peer.settle();
    await until(() => client.reason !== undefined, "'close' of the client", WAIT_MS);
    await until(() => peer.reason !== undefined, "'close' of the peer", WAIT_MS);
    await within(server.close(), 'the end of the server', WAIT_MS);
    await turns(2);
    const isCalm = !script.some(([, { does }]) => does === 'terminate');
    return [...client.judge(peer, isCalm, isUnix), ...peer.judge(client, isCalm, isUnix)];
  } finally {
    server.terminateAll();
  }
}

/** What the engine still has in use, once it had the time to close everything. */
async function leftBehind(): Promise<string[]> {
  const inUse = async (): Promise<string[]> =>
    Object.entries((await engineState()) ?? {}).flatMap(([name, count]) => (count === 0 ? [] : [`${count} ${name}`]));
  for (let i = 0; i < 100 && (await inUse()).length > 0; i++) await turns(1);
  return inUse();
}

test('whatever two ends write, pause, resume and end, all bytes arrive', limit, async (t) => {
  const base = await folder(t);
  await holds(story(calmDirectScript), async (one) => [...(await play(base, one)), ...(await leftBehind())]);
});

test('whoever terminates, an orderly end means that every byte is there', limit, async (t) => {
  const base = await folder(t);
  await holds(story(violentDirectScript), async (one) => [...(await play(base, one)), ...(await leftBehind())]);
});

test('connections that live at the same time do not mix', limit, async (t) => {
  const base = await folder(t);
  await holds(fc.array(story(violentDirectScript), { minLength: 2, maxLength: 8 }), async (stories) =>
    (await Promise.all(stories.map((one) => play(base, one)))).flat(),
  );
});
