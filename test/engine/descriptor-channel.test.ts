/** Descriptors that travel: in order, whole, none left behind. */
import assert from 'node:assert/strict';
import { closeSync, fstatSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { describe, test } from 'node:test';
import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import { getSystemErrorName } from 'node:util';
import { MOST_RIGHTS, SOCK } from '#src/engine/abi.ts';
import type { ChannelError } from '#src/engine/channel-error.ts';
import {
  type ChannelMessage,
  type ChannelOptions,
  type ChannelOwner,
  DescriptorChannel,
  discardEnd,
  inheritedEnd,
  openEnds,
  takeEnd,
} from '#src/engine/descriptor-channel.ts';
import type { Turn } from '#src/engine/turn.ts';
import { openTurn, pattern } from './support/line.ts';
import { KINDS, native, refusal } from './support/rig.ts';

const limit = { timeout: 20_000 };
const NOBODY = new Uint8Array(0);

/** Sockets and the files below: what Node itself opens and closes meanwhile does not count. */
function openDescriptors(): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return /^socket:|^\/dev\/null|^\/proc\//.test(readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      return false; // the folder itself, while it is read
    }
  }).length;
}

const newFile = (): number => openSync('/dev/null', 'r');
/** Which file it is: device and inode stay the same whatever number it has. */
const identity = (fd: number): string => `${fstatSync(fd).dev}:${fstatSync(fd).ino}`;

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await turnOfTheLoop();
}

/** One end, which writes down what it is told. */
class End implements ChannelOwner {
  readonly channel: DescriptorChannel;
  readonly messages: { text: string; descriptors: number[] }[] = [];
  drained = 0;
  /** undefined until it is closed. */
  closed: { error: ChannelError | undefined; unsent: ChannelMessage[] } | undefined;
  onText: ((text: string) => void) | undefined;
  onUnsent: ((unsent: ChannelMessage[]) => void) | undefined;

  constructor(turn: Turn, fd: number, options?: ChannelOptions) {
    this.channel = new DescriptorChannel(turn, fd, this, options);
  }

  onMessage(payload: Buffer, descriptors: number[]): void {
    const text = payload.toString('latin1');
    this.messages.push({ text, descriptors });
    this.onText?.(text);
  }
  onDrain(): void {
    this.drained++;
  }
  onClosed(error: ChannelError | undefined, unsent: ChannelMessage[]): void {
    this.closed = { error, unsent: [...unsent] };
    this.onUnsent?.(unsent);
  }

  send(text: string, descriptors: number[] = []): boolean {
    return this.channel.send(Buffer.from(text, 'latin1'), descriptors);
  }
  get texts(): string[] {
    return this.messages.map(({ text }) => text);
  }
  get code(): string | undefined {
    return this.closed?.error?.code;
  }
  /** Closes what has come. */
  discard(): void {
    for (const { descriptors } of this.messages.splice(0)) for (const fd of descriptors) closeSync(fd);
  }
}

function openPair(turn: Turn, options?: ChannelOptions): [End, End] {
  const [near, far] = openEnds(native);
  return [new End(turn, near, options), new End(turn, takeEnd(far), options)];
}

/** A channel whose peer is a bare socket: what it sends is the test's business. */
function openHalf(t: { after(fn: () => void): void }, turn: Turn, options?: ChannelOptions): [End, number] {
  const [near, far] = openEnds(native);
  const fd = takeEnd(far);
  t.after(() => void native.closeDescriptor(fd));
  return [new End(turn, near, options), fd];
}

function header(length: number, count: number, mark = 0x4d52): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(length, 0);
  bytes.writeUInt16LE(count, 4);
  bytes.writeUInt16LE(mark, 6);
  return bytes;
}

for (const kind of KINDS) {
  describe(`a channel of descriptors on the ${kind} ring`, { skip: refusal(kind) }, () => {
    test('brings messages whole and in order, with the descriptors of each', limit, async (t) => {
      const turn = openTurn(t, kind);
      const before = openDescriptors();
      const [a, b] = openPair(turn);
      const files = [openSync('/proc/self/status', 'r'), newFile(), openSync('/proc/self/maps', 'r')];
      const identities = files.map(identity);
      a.send('nothing');
      a.send('one', files.slice(0, 1));
      a.send('');
      a.send('two', files.slice(1));
      b.send('back');
      await until(() => b.messages.length === 4 && a.messages.length === 1);
      assert.deepEqual(b.texts, ['nothing', 'one', '', 'two']);
      assert.deepEqual(
        b.messages.map(({ descriptors }) => descriptors.length),
        [0, 1, 0, 2],
      );
      assert.deepEqual(
        b.messages.flatMap(({ descriptors }) => descriptors.map(identity)),
        identities,
      );
      assert.equal(readSync(b.messages[1]?.descriptors[0] as number, Buffer.alloc(4)), 4, 'it can be read from');
      assert.deepEqual(a.texts, ['back']);
      b.discard();
      a.channel.close();
      await until(() => a.closed !== undefined && b.closed !== undefined);
      assert.equal(a.closed?.error, undefined);
      assert.equal(b.closed?.error, undefined);
      assert.equal(openDescriptors(), before, 'nothing is left open');
      assert.equal(turn.slots.inUse, 0);
    });

    test('brings what is larger than the socket holds, and says when there is room again', limit, async (t) => {
      const turn = openTurn(t, kind);
      const [a, b] = openPair(turn, { highWaterBytes: 100_000 });
      const bytes = pattern(3_000_000);
      b.channel.readStop();
      a.channel.send(bytes, [newFile()]);
      a.channel.send(bytes.subarray(0, 10), [newFile()]);
      assert.equal(a.channel.isFull, true);
      for (let i = 0; i < 50; i++) await turnOfTheLoop();
      assert.equal(b.messages.length, 0, 'nothing comes to who does not read');
      assert.equal(a.drained, 0);
      b.channel.readStart();
      await until(() => b.messages.length === 2);
      assert.ok(Buffer.from(b.messages[0]?.text ?? '', 'latin1').equals(bytes));
      assert.equal(b.messages[1]?.descriptors.length, 1);
      await until(() => a.drained === 1);
      assert.equal(a.channel.isFull, false);
      assert.equal(a.channel.queuedBytes, 0);
      b.discard();
      b.channel.close();
      await until(() => a.closed !== undefined && b.closed !== undefined);
    });

    test('takes as many descriptors as the kernel does, and refuses one more', limit, async (t) => {
      const turn = openTurn(t, kind);
      const before = openDescriptors();
      const [a, b] = openPair(turn);
      for (let round = 0; round < 4; round++) a.send(`${round}`, Array.from({ length: MOST_RIGHTS }, newFile));
      await until(() => b.messages.length === 4);
      assert.ok(b.messages.every(({ descriptors }) => new Set(descriptors).size === MOST_RIGHTS));
      b.discard();
      const tooMany = Array.from({ length: MOST_RIGHTS + 1 }, newFile);
      assert.throws(() => a.send('', tooMany), { code: 'MILLRACE_ERR_CHANNEL_BAD_MESSAGE' });
      for (const fd of tooMany) closeSync(fd); // they are still ours
      assert.throws(() => a.send('', [99_999]), { code: 'MILLRACE_ERR_CHANNEL_BAD_MESSAGE' });
      assert.throws(() => a.send('', [-1]), { code: 'MILLRACE_ERR_CHANNEL_BAD_MESSAGE' });
      a.send('still there');
      await until(() => b.messages.length === 1);
      a.channel.close();
      await until(() => a.closed !== undefined && b.closed !== undefined);
      assert.equal(openDescriptors(), before);
    });

    test('sends everything before it ends', limit, async (t) => {
      const turn = openTurn(t, kind);
      const [a, b] = openPair(turn);
      const bytes = pattern(1_000_000);
      a.channel.send(bytes);
      a.send('last');
      a.channel.end();
      assert.equal(a.send('late'), false);
      await until(() => a.closed !== undefined && b.closed !== undefined);
      assert.equal(b.texts[0]?.length, bytes.length);
      assert.equal(b.texts[1], 'last');
      assert.equal(a.closed?.error, undefined);
      assert.equal(b.closed?.error, undefined);
    });

    test('delivers what had come whole when the peer ends, then ends', limit, async (t) => {
      const turn = openTurn(t, kind);
      const before = openDescriptors();
      const [a, b] = openPair(turn);
      b.channel.readStop();
      for (const text of ['1', '2', '3']) a.send(text, [newFile()]);
      a.channel.close();
      await until(() => a.closed !== undefined);
      b.onText = (text) => {
        if (text === '2') b.channel.readStop();
      };
      b.channel.readStart();
      await until(() => b.messages.length === 2);
      for (let i = 0; i < 20; i++) await turnOfTheLoop();
      assert.equal(b.closed, undefined);
      b.channel.readStart();
      await until(() => b.closed !== undefined);
      assert.deepEqual(b.texts, ['1', '2', '3']);
      b.discard();
      assert.equal(openDescriptors(), before);
    });

    test('closes the descriptors that nobody takes', limit, async (t) => {
      const turn = openTurn(t, kind);
      const before = openDescriptors();
      const [a, b] = openPair(turn);
      b.channel.readStop();
      for (let i = 0; i < 20; i++) a.send(`${i}`, [newFile(), newFile()]);
      b.channel.readStart();
      b.onText = () => b.channel.readStop();
      await until(() => b.messages.length === 1);
      b.discard();
      b.channel.close(); // 19 messages have come, and are not delivered any more
      await until(() => a.closed !== undefined && b.closed !== undefined);
      assert.equal(openDescriptors(), before);
      assert.equal(turn.slots.inUse, 0);
    });

    test('gives back what was not sent, and closes what its owner leaves', limit, async (t) => {
      const turn = openTurn(t, kind);
      const before = openDescriptors();
      const [a, fd] = openHalf(t, turn);
      a.channel.send(pattern(2_000_000)); // fills the socket
      a.send('mine again', [newFile()]);
      a.send('nobody’s', [newFile()]);
      let kept: number[] = [];
      a.onUnsent = (unsent) => {
        kept = [...(unsent[0] as ChannelMessage).descriptors];
        unsent.splice(0, 1);
      };
      assert.equal(native.shutdown(fd, 2), 0);
      await until(() => a.closed !== undefined);
      assert.equal(a.code, 'MILLRACE_ERR_CHANNEL_PEER_GONE');
      assert.deepEqual(
        a.closed?.unsent.map(({ payload }) => payload.length),
        [10, 8 + 0],
      );
      assert.equal(a.send('late', kept), false, 'and what is not taken stays the caller’s');
      fstatSync(kept[0] as number);
      closeSync(kept[0] as number);
      assert.equal(openDescriptors(), before + 1, 'only the bare end of the test');
    });

    const bad: [what: string, code: string, send: (fd: number) => void][] = [
      ['something else', 'BAD_FRAME', (fd) => native.send(fd, Buffer.from('GET / HTTP/1.1\r\n\r\n'))],
      ['another mark', 'BAD_FRAME', (fd) => native.send(fd, header(1, 0, 0x4d51))],
      ['more descriptors than there can be', 'BAD_FRAME', (fd) => native.send(fd, header(0, 254))],
      ['a message over the limit', 'MESSAGE_TOO_LARGE', (fd) => native.send(fd, header(1001, 0))],
      ['descriptors that were promised and do not come', 'LOST_DESCRIPTORS', (fd) => native.send(fd, header(0, 1))],
      [
        'descriptors of no message',
        'BAD_FRAME',
        (fd) => {
          const one = newFile();
          native.sendMessage(fd, Buffer.concat([header(1, 0), Buffer.from('x')]), Int32Array.of(one), NOBODY);
          closeSync(one);
        },
      ],
    ];
    for (const [what, code, send] of bad)
      test(`refuses ${what}`, limit, async (t) => {
        const turn = openTurn(t, kind);
        const [a, fd] = openHalf(t, turn, { maxMessageBytes: 1000 });
        const before = openDescriptors();
        native.send(fd, Buffer.concat([header(2, 0), Buffer.from('ok')]));
        send(fd);
        await until(() => a.closed !== undefined);
        assert.equal(a.texts[0], 'ok');
        assert.equal(a.code, `MILLRACE_ERR_CHANNEL_${code}`);
        assert.equal(openDescriptors(), before - 1);
      });

    test('refuses descriptors that keep coming in the middle of a message', limit, async (t) => {
      const turn = openTurn(t, kind);
      const [a, fd] = openHalf(t, turn);
      const before = openDescriptors();
      const files = Array.from({ length: 200 }, newFile);
      native.sendMessage(fd, header(1000, 1), Int32Array.from(files), NOBODY);
      native.sendMessage(fd, Buffer.from('x'), Int32Array.from(files), NOBODY);
      for (const one of files) closeSync(one);
      await until(() => a.closed !== undefined);
      assert.equal(a.code, 'MILLRACE_ERR_CHANNEL_BAD_FRAME');
      assert.equal(openDescriptors(), before - 1);
    });

    test('tells a peer that dies in the middle of a message from one that ends', limit, async (t) => {
      const turn = openTurn(t, kind);
      for (const part of [header(10, 1).subarray(0, 3), Buffer.concat([header(10, 0), Buffer.from('half')])]) {
        const [near, far] = openEnds(native);
        const a = new End(turn, near);
        const one = newFile();
        native.sendMessage(far.fd, part, Int32Array.of(one), NOBODY);
        closeSync(one);
        discardEnd(native, far);
        await until(() => a.closed !== undefined);
        assert.equal(a.code, 'MILLRACE_ERR_CHANNEL_TRUNCATED');
      }
    });

    test('says what the peer said last, although sending to it fails', limit, async (t) => {
      const turn = openTurn(t, kind);
      const [near, far] = openEnds(native);
      const a = new End(turn, near);
      native.send(far.fd, Buffer.concat([header(3, 0), Buffer.from('bye')]));
      discardEnd(native, far);
      a.send('are you there?');
      await until(() => a.closed !== undefined);
      assert.deepEqual(a.texts, ['bye']);
      assert.equal(a.code, 'MILLRACE_ERR_CHANNEL_PEER_GONE');
    });

    test('goes on after an exception in its owner', limit, async (t) => {
      const turn = openTurn(t, kind);
      const [a, b] = openPair(turn);
      const thrown: unknown[] = [];
      // The runner has a listener of its own, which would call it a failure.
      const others = process.listeners('uncaughtException');
      process.removeAllListeners('uncaughtException');
      process.on('uncaughtException', (error) => thrown.push(error));
      t.after(() => {
        process.removeAllListeners('uncaughtException');
        for (const other of others) process.on('uncaughtException', other);
      });
      b.onText = (text) => {
        if (text === 'first') throw new Error('from the owner');
      };
      a.send('first');
      a.send('second');
      await until(() => b.messages.length === 2);
      assert.equal(thrown.length, 1);
      a.send('third');
      await until(() => b.messages.length === 3);
      a.channel.close();
      await until(() => b.closed !== undefined);
    });

    test('an end is taken once', limit, () => {
      const before = openDescriptors();
      const [near, far] = openEnds(native);
      const copy = structuredClone(far);
      const fd = takeEnd(copy);
      assert.equal(fd, far.fd);
      assert.equal(takeEnd(far), -1);
      discardEnd(native, far);
      fstatSync(fd); // open still: it has an owner
      const own = inheritedEnd(native, fd);
      assert.throws(() => inheritedEnd(native, 99_999), { code: 'EBADF' });
      for (const one of [near, own]) native.closeDescriptor(one);
      assert.equal(openDescriptors(), before);
    });
  });
}

test('a message of a unix socket brings its descriptors close-on-exec, and says what was lost', limit, () => {
  const [a, b] = native.socketPair(SOCK.STREAM) as [number, number];
  const out = new Int32Array(2 + MOST_RIGHTS);
  const bytes = new Uint8Array(4);
  const file = newFile();
  assert.equal(native.sendMessage(a, Uint8Array.of(1, 2), Int32Array.of(file, file), NOBODY), 2);
  assert.equal(native.receiveMessage(b, bytes, out), 2);
  assert.deepEqual([...out.subarray(0, 2)], [2, 0]);
  const [, , first, second] = out as unknown as [number, number, number, number];
  assert.notEqual(first, second);
  for (const fd of [first, second]) closeSync(fd);
  assert.equal(getSystemErrorName(native.receiveMessage(b, bytes, out)), 'EAGAIN');
  assert.equal(getSystemErrorName(native.sendMessage(a, bytes, Int32Array.of(99_999), NOBODY)), 'EBADF');
  assert.equal(getSystemErrorName(native.sendMessage(a, bytes, new Int32Array(254), NOBODY)), 'EINVAL');
  assert.equal(getSystemErrorName(native.receiveMessage(b, bytes, new Int32Array(254))), 'EINVAL');
  assert.equal(getSystemErrorName(native.receiveMessage(b, bytes, new Uint8Array(4) as never)), 'EINVAL');
  for (const fd of [a, b, file]) closeSync(fd);
});
