/** What a socket's writes come to: at most one send in flight, and what is written meanwhile in the next one. */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { OP, USER_OP } from '#src/engine/abi.ts';
import { choice } from '#src/engine/engine.ts';
import { dial, limit, serve, until } from '../../support/net.ts';
import { submissions } from '../support/line.ts';

const { turn } = choice;

test('a socket has at most one send in flight, whatever is written when', {
  ...limit,
  skip: turn === null,
}, async (t) => {
  if (turn === null) return;
  const seen = submissions(turn);
  const inFlight = new Map<number, number>();
  let most = 0;
  let completions = 0;
  const push = turn.ring.push;
  turn.ring.push = (...args) => {
    push(...args);
    const { slot, userOp } = seen.at(-1) as (typeof seen)[number];
    if (userOp !== USER_OP.SEND) return;
    inFlight.set(slot, (inFlight.get(slot) ?? 0) + 1);
    most = Math.max(most, inFlight.get(slot) as number);
    // A completion is seen by its owner first.
    const owner = turn.slots.owners[slot] as NonNullable<(typeof turn.slots.owners)[number]>;
    if (Object.hasOwn(owner, 'complete')) return;
    const complete = owner.complete.bind(owner);
    owner.complete = (operation, res, flags) => {
      if (operation === USER_OP.SEND) {
        inFlight.set(slot, (inFlight.get(slot) as number) - 1);
        completions++;
      }
      return complete(operation, res, flags);
    };
  };

  const echoes: Promise<unknown>[] = [];
  const server = await serve(t, (socket: Socket) => void socket.pipe(socket));
  for (let i = 0; i < 5; i++) {
    const client = await dial(t, server);
    let expected = 0;
    let got = 0;
    client.on('data', (chunk: Buffer) => (got += chunk.length));
    const write = (bytes: number): void => {
      expected += bytes;
      client.write(Buffer.alloc(bytes, i));
    };
    for (let j = 0; j < 50; j++) {
      write(1 + j * 1000);
      if (j % 3 === 0) await new Promise((resolve) => setImmediate(resolve));
      if (j % 7 === 0) process.nextTick(write, 10);
      if (j % 11 === 0) setTimeout(write, 1, 300_000);
    }
    echoes.push(until(() => got >= expected && expected > 2_000_000, 'the echo').then(() => client.destroy()));
  }
  await Promise.all(echoes);
  assert.equal(most, 1);
  assert.ok(completions > 20, `${completions} sends`);
  assert.ok(
    seen.some(({ opcode }) => opcode === OP.SENDMSG),
    'what was written meanwhile was gathered',
  );
});
