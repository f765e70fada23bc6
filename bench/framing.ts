// node .build/bench/framing.js [--runs N] [--check]: codecs, beside what npm has for the same, in the same process.
//
// Bytes in memory, in chunks of 64 KB and of 1,500 bytes; 64-byte frames. Every run decodes the same 50,000 frames with
// each of them in turn, so a slow minute hits all; the medians of the runs are printed, of CPU time (user + system of
// the process, garbage collector included), because it is steady where the clock of a shared machine isn't. The goals
// are checked for the decoder (`push`); the stream is printed beside it.
//
// With --check it ends with exit status 1 if a goal is missed.
import { parseArgs } from 'node:util';
import { decode as decodeRival } from 'it-length-prefixed';
import { type Codec, delimited, lengthPrefixed, lines, netstring, varintPrefixed } from 'millrace/framing';

// split2 comes without types.
const rival: string = 'split2';
const { default: split2 } = (await import(rival)) as { default: () => NodeJS.ReadWriteStream };

const FRAMES = 50_000;
const FRAME_BYTES = 64;
const CHUNK_BYTES = [65_536, 1_500];

const { values } = parseArgs({
  options: { runs: { type: 'string', default: '15' }, check: { type: 'boolean', default: false } },
});

type Run = (chunks: Buffer[]) => number | Promise<number>;
interface Candidate {
  name: string;
  wire: Buffer;
  /** Decodes the chunks and returns how many frames there were. */
  run: Run;
  nsPerFrame: number[];
}
interface Goal {
  of: string;
  /** At least this many times as fast as the other, or this many frames a second. */
  over: string | number;
  times: number;
}

const goals: Goal[] = [
  { of: 'length-prefixed, views', over: 8e6, times: 1 },
  { of: 'length-prefixed, copies', over: 'it-length-prefixed', times: 3 },
  { of: 'lines, text', over: 'split2', times: 2 },
];

const payload = Buffer.alloc(FRAME_BYTES, 'x');
const text = 'x'.repeat(FRAME_BYTES - 1);
const reading = JSON.stringify({ device: 'boiler-17', celsius: 19.5, at: 1_700_000_000, ok: true });
const prefixed = lengthPrefixed({ lengthFieldLength: 4 });

function wireOf<Out>(codec: Codec<unknown, Out>, message: Out): Buffer {
  return Buffer.concat(Array(FRAMES).fill(codec.encode(message)));
}

function pushed<In, Out>(codec: Codec<In, Out>, frames: 'copy' | 'view' = 'copy'): Run {
  return (chunks) => {
    let count = 0;
    const decoder = codec.decoder(() => void count++, { frames });
    for (const chunk of chunks) decoder.push(chunk);
    return count;
  };
}

function streamed(make: () => NodeJS.ReadWriteStream): Run {
  return async (chunks) => {
    let count = 0;
    const stream = make();
    stream.on('data', () => count++);
    const end = new Promise((resolve) => stream.on('end', resolve));
    for (const chunk of chunks) if (!stream.write(chunk)) await new Promise((resolve) => stream.once('drain', resolve));
    stream.end();
    await end;
    return count;
  };
}

/** The same 4-byte prefix as ours, so that both read the same bytes. */
function fourBytes(list: { byteLength: number; getUint32(at: number): number }): number {
  if (list.byteLength < fourBytes.bytes) throw new RangeError('needs more');
  return list.getUint32(0);
}
fourBytes.bytes = 4;

const lineWire = wireOf(lines().utf8(), text);
const prefixedWire = wireOf(prefixed, payload);
const candidates: Candidate[] = (
  [
    ['length-prefixed, views', prefixedWire, pushed(prefixed, 'view')],
    ['length-prefixed, copies', prefixedWire, pushed(prefixed)],
    ['length-prefixed, text', wireOf(prefixed.utf8(), text), pushed(prefixed.utf8())],
    [
      'it-length-prefixed',
      prefixedWire,
      (chunks) => {
        let count = 0;
        for (const _ of decodeRival(chunks, { lengthDecoder: fourBytes })) count++;
        return count;
      },
    ],
    ['lines, text', lineWire, pushed(lines().utf8())],
    ['lines, text, stream', lineWire, streamed(() => lines().utf8().decodeStream())],
    ['split2', lineWire, streamed(() => split2())],
    ['lines, bytes', lineWire, pushed(lines())],
    ['lines, json', wireOf(lines().json(), JSON.parse(reading) as unknown), pushed(lines().json())],
    ['delimited, 2 of 2 bytes', wireOf(delimited(['\r\n', '\0\0']), payload), pushed(delimited(['\r\n', '\0\0']))],
    ['varint-prefixed', wireOf(varintPrefixed(), payload), pushed(varintPrefixed())],
    ['netstring', wireOf(netstring(), payload), pushed(netstring())],
  ] as [string, Buffer, Run][]
).map(([name, wire, run]) => ({ name, wire, run, nsPerFrame: [] }));

/** Encoding: one frame each; a batch in one buffer, as a send buffer is filled. */
const target = Buffer.alloc(FRAMES * (FRAME_BYTES + 4));
const encoders: [string, () => void][] = [
  ['encode', () => void prefixed.encode(payload)],
  ['encode, text', () => void prefixed.utf8().encode(text)],
  ['pieces', () => void prefixed.pieces(payload)],
];

async function cpuNs(run: () => unknown): Promise<number> {
  const before = process.cpuUsage();
  await run();
  const { user, system } = process.cpuUsage(before);
  return ((user + system) * 1_000) / FRAMES;
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] as number;
}

function cutUp(wire: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(wire.length / size) }, (_, i) => wire.subarray(i * size, (i + 1) * size));
}

async function measure(chunkBytes: number): Promise<void> {
  for (const candidate of candidates) candidate.nsPerFrame = [];
  for (let i = -2; i < Number(values.runs); i++) {
    for (const { run, wire, nsPerFrame } of candidates) {
      const chunks = cutUp(wire, chunkBytes);
      const ns = await cpuNs(async () => {
        const count = await run(chunks);
        if (count !== FRAMES) throw new Error(`${count} frames instead of ${FRAMES}`);
      });
      if (i >= 0) nsPerFrame.push(ns);
    }
  }
}

function report(chunkBytes: number): boolean {
  console.log(`\nchunks of ${chunkBytes} bytes`);
  for (const { name, nsPerFrame } of candidates) {
    const ns = median(nsPerFrame);
    const spread = `${Math.min(...nsPerFrame).toFixed(0)}-${Math.max(...nsPerFrame).toFixed(0)}`;
    console.log(
      `  ${name.padEnd(26)} ${ns.toFixed(0).padStart(5)} ns ${spread.padStart(9)}   ${(1e3 / ns).toFixed(1).padStart(5)} M/s`,
    );
  }
  const of = (name: string): number =>
    1e9 / median(candidates.find((candidate) => candidate.name === name)!.nsPerFrame);
  let isMet = true;
  for (const { of: name, over, times } of goals) {
    const ratio = of(name) / (typeof over === 'string' ? of(over) : over);
    isMet &&= ratio >= times;
    const against = typeof over === 'string' ? over : `${over / 1e6} M/s`;
    console.log(
      `  goal: ${name} at least ${times} x ${against}: ${ratio.toFixed(2)} ${ratio >= times ? 'met' : 'MISSED'}`,
    );
  }
  return isMet;
}

console.log(
  `Node.js ${process.version}, ${process.platform}-${process.arch}, median of ${values.runs} runs of ${FRAMES} frames, CPU time`,
);
let isMet = true;
for (const chunkBytes of CHUNK_BYTES) {
  await measure(chunkBytes);
  isMet = report(chunkBytes) && isMet;
}

console.log('\nencoding 64 bytes');
encoders.push([
  'encodeInto',
  () => {
    at = prefixed.encodeInto(payload, target, at);
  },
]);
let at = 0;
for (const [name, encode] of encoders) {
  const all: number[] = [];
  for (let i = -2; i < Number(values.runs); i++) {
    const ns = await cpuNs(() => {
      at = 0;
      for (let n = 0; n < FRAMES; n++) encode();
    });
    if (i >= 0) all.push(ns);
  }
  console.log(`  ${name.padEnd(26)} ${median(all).toFixed(0).padStart(5)} ns`);
}
if (values.check && !isMet) process.exitCode = 1;
