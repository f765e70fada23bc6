/**
 * Whatever is sent, however it is cut, whenever anybody stops, reads slowly or dies: what arrives is a beginning of what
 * was sent, in order and once; what was acknowledged had arrived; and every promise is settled.
 *
 * test/property/support/holds.ts tells how long it runs, and how a run is repeated.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { type Codec, lengthPrefixed, lines } from 'millrace/framing';
import { dial, isGoodEnd, type Session, type SessionCloseReason, serve } from 'millrace/session';
import { holds, SECONDS } from '../property/support/holds.ts';
import { dialling as dialRaw, leakGuard, turns, until, within } from '../support/net.ts';

await leakGuard();

const limit = { timeout: SECONDS * 1000 + 60_000 };

/** A number, and padding that makes it large. */
type Message = [number: number, padding: string];

const codecs = {
  prefixed: lengthPrefixed({ lengthFieldLength: 4 }).json() as unknown as Codec<Message>,
  lines: lines().json() as unknown as Codec<Message>,
};

const setting = fc.record({
  codec: fc.constantFrom<'prefixed' | 'lines'>('prefixed', 'lines'),
  decodeAhead: fc.boolean(),
  readFrames: fc.constantFrom(1, 2, 5, 256),
  writeFrames: fc.constantFrom(1, 3, 4096),
  writeBytes: fc.constantFrom(1, 500, 65_536),
});
type Setting = typeof setting extends fc.Arbitrary<infer T> ? T : never;

const optionsOf = (each: Setting) => ({
  codec: codecs[each.codec],
  decodeAhead: each.decodeAhead,
  limits: {
    readBuffer: { highFrames: each.readFrames },
    writeBuffer: { highFrames: each.writeFrames, highBytes: each.writeBytes },
  },
});

const sizes = fc.array(fc.oneof({ weight: 9, arbitrary: fc.nat(60) }, fc.nat(20_000)), { maxLength: 120 });
/** How many turns somebody takes, again and again. */
const pace = fc.array(fc.constantFrom(0, 0, 0, 1, 3), { minLength: 1, maxLength: 7 });

async function pause(turnsOf: number[], step: number): Promise<void> {
  const count = turnsOf[step % turnsOf.length] as number;
  if (count > 0) await turns(count);
}

const message = (size: number, number: number): Message => [number, 'x'.repeat(size)];

test('frames cut anywhere are answered once each, in order, and both sides end well', limit, () =>
  holds(
    fc.record({ setting, sizes, pace, cuts: fc.array(fc.nat(3_000), { minLength: 1, maxLength: 20 }) }),
    async ({ setting, sizes, pace, cuts }, stage) => {
      const reasons: SessionCloseReason[] = [];
      let step = 0;
      const server = await serve<Message, Message>(
        { ...optionsOf(setting), port: 0, host: '127.0.0.1', onClosed: (_, reason) => reasons.push(reason) },
        async (session) => {
          for await (const [number, padding] of session) {
            await pause(pace, step++);
            await session.send([number, padding]);
          }
        },
      );
      stage.after(() => server.close());
      const wire = Buffer.concat(sizes.map((size, number) => codecs[setting.codec].encode(message(size, number))));
      const peer = dialRaw(stage, { port: server.port as number, host: '127.0.0.1' }, { allowHalfOpen: true });
      const received: Buffer[] = [];
      let hasEnded = false;
      peer.on('data', (chunk: Buffer) => received.push(chunk)).on('end', () => (hasEnded = true));
      for (let at = 0, cut = 0; at < wire.length; cut++) {
        const bytes = 1 + (cuts[cut % cuts.length] as number);
        peer.write(wire.subarray(at, at + bytes));
        at += bytes;
        await turns(1);
      }
      peer.end();
      await until(() => hasEnded && reasons.length === 1, 'the end', 20_000);
      assert.ok(Buffer.concat(received).equals(wire));
      assert.deepEqual(
        reasons.map(({ reason, unsentBytes }) => [reason, unsentBytes]),
        [['ENDED', 0]],
      );
    },
  ),
);

const death = fc.constantFrom('abort client', 'abort server', 'close client', 'close server', 'drain', 'handler');

test('whoever dies whenever: nothing is doubled, reordered or wrongly acknowledged', limit, () =>
  holds(
    fc.record({
      ...{ server: setting, client: setting, sizes, serverPace: pace, sendPace: pace, readPace: pace, death },
      ...{ dieAfter: fc.nat(100), tries: fc.boolean() },
    }),
    async ({ server: s, client: c, sizes, serverPace, sendPace, readPace, death, dieAfter, tries }, stage) => {
      const arrived: number[] = [];
      const reasons: SessionCloseReason[] = [];
      const died = new Error('the handler died');
      let session: Session<Message> | undefined;
      let step = 0;
      const server = await serve<Message, Message>(
        {
          ...optionsOf(s),
          ...{ codec: codecs[c.codec], port: 0, host: '127.0.0.1' },
          onClosed: (_, reason) => reasons.push(reason),
          onError: (error) => assert.equal(error, died),
        },
        async (accepted) => {
          session = accepted;
          for await (const [number] of accepted) {
            if (death === 'handler' && arrived.length >= dieAfter) throw died;
            arrived.push(number);
            await pause(serverPace, step++);
            await accepted.send([number, '']);
          }
        },
      );
      stage.after(() => server.close());
      const client = await dial<Message, Message>({ ...optionsOf(c), port: server.port as number, host: '127.0.0.1' });
      stage.after(() => client.abort());

      const sending = (async () => {
        for (const [number, size] of sizes.entries()) {
          await pause(sendPace, number);
          if (tries) client.trySend(message(size, number));
          else await client.send(message(size, number));
        }
        client.end();
      })();
      const acknowledged: number[] = [];
      const reading = (async () => {
        for await (const [number] of client) {
          acknowledged.push(number);
          await pause(readPace, acknowledged.length);
        }
      })();
      const dying = (async () => {
        await turns(dieAfter);
        if (death === 'abort client') client.abort();
        else if (death === 'close client') await client.close();
        else if (death === 'abort server') session?.abort();
        else if (death === 'close server') await session?.close();
        else if (death === 'drain') await server.drain();
      })();
      const all = Promise.allSettled([sending, reading, dying, client.closed]);
      await within(all, 'every promise is settled', 20_000);
      await until(() => session === undefined || reasons.length === 1, 'the session is over', 20_000);

      const end = await client.closed;
      assert.deepEqual(arrived, [...arrived.keys()], 'what arrived is a beginning of what was sent, once and in order');
      assert.deepEqual(acknowledged, [...acknowledged.keys()]);
      assert.ok(acknowledged.length <= arrived.length, 'what was acknowledged had arrived');
      assert.equal(client.bufferedFrames === 0 || end.unsentBytes > 0, true);
      if (end.reason === 'ENDED' && reasons[0]?.reason === 'ENDED') {
        assert.deepEqual([arrived.length, acknowledged.length], [sizes.length, sizes.length]);
      }
      if (isGoodEnd(end.reason)) assert.equal(end.unsentBytes, 0);
    },
  ),
);
