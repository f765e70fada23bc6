/** The buffer ring: what stands in its memory, and what a kernel makes of it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import { BUF, BUF_WORDS, CQE, CQE_BUFFER_SHIFT, CQE_F, CQE_WORDS, ERRNO, OP, SOCK, SQE_F } from '#src/engine/abi.ts';
import { BUFFER_GROUP, ReceiveBuffers } from '#src/engine/buffers.ts';
import { Ring } from '#src/engine/ring.ts';
import type { Stage } from './support/line.ts';
import { KINDS, native, refusal } from './support/rig.ts';

const limit = { timeout: 10_000 };
const ADDRESS = 0x7fed_c000_0000;

/** A ring of memory and nothing else. */
function paper(refused: { allocate?: number; registerBuffers?: number } = {}) {
  const memories: ArrayBuffer[] = [];
  const ring = {
    id: 0,
    native: {
      allocate: (_: number, _most: number, bytes: number) =>
        refused.allocate ?? memories[memories.push(new ArrayBuffer(bytes)) - 1],
      show: (_: number, _memory: Uint8Array, bytes: number) => new ArrayBuffer(bytes),
      registerBuffers: () => refused.registerBuffers ?? 0,
      address: () => ADDRESS,
    },
  } as unknown as Ring;
  const words = (): Int32Array => new Int32Array(memories[0] as ArrayBuffer);
  const entry = (i: number) => {
    const at = (i & (words().length / BUF_WORDS - 1)) * BUF_WORDS;
    const [low, high, length, bidTail] = words().subarray(at, at + BUF_WORDS) as unknown as number[];
    return { address: (high as number) * 2 ** 32 + ((low as number) >>> 0), length, id: (bidTail as number) & 0xffff };
  };
  const tail = (): number => (words()[BUF.BID_TAIL] as number) >>> 16;
  return { ring, entry, tail };
}

test('an entry is the address, the length and the number of its buffer', () => {
  const { ring, entry, tail } = paper();
  const buffers = new ReceiveBuffers(ring, 4, 8);
  assert.equal(tail(), 4);
  for (let id = 0; id < 4; id++) {
    const address = ADDRESS + id * buffers.bufferBytes;
    assert.deepEqual(entry(id), { address, length: buffers.bufferBytes, id });
  }
  assert.deepEqual([buffers.count, buffers.lent], [4, 0]);
});

test('what was given back is seen when it is published, not before', () => {
  const { ring, entry, tail } = paper();
  const buffers = new ReceiveBuffers(ring, 4, 8);
  buffers.lent += 2; // two completions
  buffers.give(2);
  buffers.give(0);
  assert.deepEqual([tail(), buffers.lent], [4, 0]);
  buffers.publish();
  assert.equal(tail(), 6);
  assert.deepEqual([entry(4).id, entry(5).id], [2, 0]);
});

test('the tail in the first entry survives what is written there, and counts on at 65536', () => {
  const { ring, entry, tail } = paper();
  const buffers = new ReceiveBuffers(ring, 4, 8);
  for (let i = 4; i < 70_000; i++) {
    const id = (i * 3) & 3;
    buffers.lent++;
    buffers.give(id);
    assert.equal(tail(), i & 0xffff);
    buffers.publish();
    assert.equal(tail(), (i + 1) & 0xffff);
    assert.equal(entry(i).id, id);
  }
});

test('the ring grows up to its limit, and shows the new buffers at once', () => {
  const { ring, entry, tail } = paper();
  const buffers = new ReceiveBuffers(ring, 4, 16);
  buffers.grow();
  assert.deepEqual([buffers.count, tail(), buffers.lent], [8, 8, 0]);
  buffers.grow(100);
  assert.deepEqual([buffers.count, tail(), buffers.lent], [16, 16, 0]);
  assert.equal(entry(15).id, 15);
  buffers.grow();
  assert.deepEqual([buffers.count, tail()], [16, 16]);
});

test('what the kernel refuses is an error that names the errno', () => {
  assert.throws(() => new ReceiveBuffers(paper({ allocate: -12 }).ring), /memory .*errno 12/);
  assert.throws(() => new ReceiveBuffers(paper({ registerBuffers: -22 }).ring), /buffer ring .*errno 22/);
});

for (const kind of KINDS) {
  describe(`receive buffers on the ${kind} ring`, { skip: refusal(kind) }, () => {
    /** A ring with a few buffers, and two ends of a stream. */
    function few(t: Stage, start: number, most: number) {
      const nothing = (): void => {};
      const ring = Ring.open(native, kind, 64, 256, nothing, nothing) as Ring;
      const buffers = new ReceiveBuffers(ring, start, most);
      const [a, b] = native.socketPair(SOCK.STREAM) as [number, number];
      t.after(async () => {
        ring.close();
        for (const fd of [a, b]) native.closeDescriptor(fd);
        await turnOfTheLoop();
      });
      const out = Buffer.from(native.allocate(ring.id, 4096, 4096) as ArrayBuffer);
      const complete = async (count: number): Promise<{ res: number; flags: number }[]> => {
        const got: { res: number; flags: number }[] = [];
        while (got.length < count) {
          ring.enter();
          native.collect(ring.id);
          for (const tail = ring.tail(); ring.head !== tail; ring.advance((ring.head + 1) | 0)) {
            const at = ring.cqesAt + (ring.head & ring.cqMask) * CQE_WORDS;
            got.push({ res: ring.words[at + CQE.RES] as number, flags: ring.words[at + CQE.FLAGS] as number });
          }
          if (got.length < count) await turnOfTheLoop();
        }
        return got;
      };
      return {
        buffers,
        send: async (text: string) => {
          out.write(text);
          ring.push(OP.SEND, a, 0, native.address(out), text.length, 0, 1, 0, 0);
          assert.deepEqual(await complete(1), [{ res: text.length, flags: 0 }]);
        },
        /** The number of the buffer and what stands in it; or `-errno`. */
        receive: async (): Promise<[id: number, text: string] | number> => {
          ring.push(OP.RECV | (SQE_F.BUFFER_SELECT << 8), b, 0, 0, 0, 0, 2, 0, BUFFER_GROUP);
          const [{ res, flags }] = (await complete(1)) as [{ res: number; flags: number }];
          if (res < 0) return res;
          assert.ok(flags & CQE_F.BUFFER);
          buffers.lent++;
          const id = flags >>> CQE_BUFFER_SHIFT;
          const at = id * buffers.bufferBytes;
          return [id, buffers.memory.toString('latin1', at, at + res)];
        },
      };
    }

    test('are taken in the order in which they were given, and none is lost or lent twice', limit, async (t) => {
      const { buffers, send, receive } = few(t, 4, 8);
      let lent: number[] = [];
      const order: number[] = [];
      for (let i = 0; i < 100; i++) {
        await send(`piece ${i}`);
        const [id, text] = (await receive()) as [number, string];
        assert.equal(text, `piece ${i}`);
        assert.ok(!lent.includes(id), `buffer ${id} is lent`);
        lent.push(id);
        order.push(id);
        if (lent.length < 3) continue;
        for (const back of lent) buffers.give(back);
        buffers.publish();
        lent = [];
      }
      assert.equal(buffers.lent, lent.length);
      for (let i = 4; i < order.length; i++) assert.equal(order[i], order[i - 4], 'each in its turn');
    });

    test(
      'run out when all are lent, and are there again when one is given back or the ring grows',
      limit,
      async (t) => {
        const { buffers, send, receive } = few(t, 2, 4);
        for (const text of ['one', 'two']) {
          await send(text);
          assert.equal(((await receive()) as [number, string])[1], text);
        }
        await send('three');
        assert.equal(await receive(), -ERRNO.ENOBUFS);
        buffers.give(1);
        assert.equal(await receive(), -ERRNO.ENOBUFS, 'it was not published');
        buffers.publish();
        assert.deepEqual(await receive(), [1, 'three']);
        await send('four');
        assert.equal(await receive(), -ERRNO.ENOBUFS);
        buffers.grow();
        assert.deepEqual(await receive(), [2, 'four']);
        assert.equal(buffers.lent, 3);
      },
    );
  });
}
