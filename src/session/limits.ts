/**
 * What a session may take, and a server: one object, each limit with a finite default and a reason of its own in
 * reasons.ts. Times are in ms, 0 for none; a count of `Infinity` is none.
 *
 * The size of a frame is the codec's business: `maxFrameBytes`.
 */
import { badOption } from './errors.ts';
import { MemoryBudget, processMemory } from './memory.ts';

/** Of a buffer of messages. It is full at one of the high marks, and has room again below both of the low ones. */
export interface WatermarkOptions {
  highBytes?: number | undefined;
  /** A quarter of `highBytes` unless given. */
  lowBytes?: number | undefined;
  highFrames?: number | undefined;
  /** A quarter of `highFrames` unless given. */
  lowFrames?: number | undefined;
}

/** What happens to a message for which `maxBytes` or `maxFrames` has no room. */
export type OverflowPolicy =
  /** The session is closed: `WRITE_OVERFLOW`. A peer that doesn't read is of no use. */
  | 'close'
  /** The message is dropped. */
  | 'dropNewest'
  /** Messages that wait, oldest first, give way; never one of which the kernel may have seen a byte. */
  | 'dropOldest';

export interface WriteBufferOptions extends WatermarkOptions {
  /** The hard cap on what waits to be sent. A single message larger than that is taken if nothing else waits. 16 MiB. */
  maxBytes?: number | undefined;
  /**
   * The hard cap on the frames that wait in the session, above the high marks: many small ones take far more memory than
   * their bytes. 65,536.
   */
  maxFrames?: number | undefined;
  /** `close` unless given. */
  onOverflow?: OverflowPolicy | undefined;
}

export interface SessionLimits {
  /** Until the first byte of the peer. `FIRST_BYTE_TIMEOUT`. 30,000 with `serve`, none with `dial`. */
  firstByteMs?: number | undefined;
  /** Until the first complete frame, or until `ready()`; see `handshakeUntil`. `HANDSHAKE_TIMEOUT`. 60,000; 0. */
  handshakeMs?: number | undefined;
  /** What the handshake ends with. `frame` unless given. */
  handshakeUntil?: 'frame' | 'ready' | undefined;
  /** From the first byte of a frame to its last: one byte a second is no way to send. `FRAME_TIMEOUT`. 30,000. */
  frameMs?: number | undefined;
  /** The least average rate within a frame, after a grace. `SLOW_PEER`. 0 bytes/s (none) after 5,000 ms. */
  minRate?: { bytesPerSecond: number; graceMs?: number | undefined } | undefined;
  /** Without a byte received or taken by the kernel. `IDLE_TIMEOUT`. 300,000 with `serve`, none with `dial`. */
  idleMs?: number | undefined;
  /** Without a byte taken by the kernel while some wait. `PEER_NOT_READING`. 60,000. */
  writeMs?: number | undefined;
  /** The session is then closed as by `drain`, as soon as it isn't busy. `MAX_AGE`. None. */
  maxAgeMs?: number | undefined;
  /** The part of `maxAgeMs` that is diced, so that sessions of one moment don't end in one. 0.1. */
  maxAgeJitter?: number | undefined;
  /** How long `close` waits, when everything was sent, for the peer to end. `LINGER_TIMEOUT`. 5,000; 0 waits for ever. */
  lingerMs?: number | undefined;
  /** Messages that wait for the consumer; above it the peer is slowed down. 256 KiB, 256 frames. */
  readBuffer?: WatermarkOptions | undefined;
  /** Messages that wait to be sent; above it `send` waits. 64 KiB, 4,096 frames. */
  writeBuffer?: WriteBufferOptions | undefined;
  /**
   * What all sessions may hold together; the one that holds most is closed first: `MEMORY_BUDGET`. A number is a
   * budget of this server or client alone. `processMemory` (512 MiB for the whole thread) unless given.
   */
  memory?: MemoryBudget | number | undefined;
}

export interface ServerLimits extends SessionLimits {
  /** Open at a time. `TOO_MANY_CONNECTIONS`. 10,000. */
  connections?: number | undefined;
  /** Open at a time, for each address. `TOO_MANY_FROM_ADDRESS`. 1,024. */
  perAddress?: number | undefined;
  /** Open at a time, for each /64 of IPv6, which is what one customer has. `TOO_MANY_FROM_NETWORK`. 1,024. */
  perNetwork?: number | undefined;
  /** A token bucket: so many a second, and `burst` at once. `ACCEPT_RATE`. 2,000, and twice as many. */
  acceptRate?: { perSecond: number; burst?: number | undefined } | undefined;
}

export interface Watermarks {
  readonly highBytes: number;
  readonly lowBytes: number;
  readonly highFrames: number;
  readonly lowFrames: number;
}

/** `SessionLimits`, complete and checked. */
export interface SessionRules {
  readonly firstByteMs: number;
  readonly handshakeMs: number;
  readonly handshakeUntil: 'frame' | 'ready';
  readonly frameMs: number;
  readonly minBytesPerSecond: number;
  readonly rateGraceMs: number;
  readonly idleMs: number;
  readonly writeMs: number;
  readonly maxAgeMs: number;
  readonly maxAgeJitter: number;
  readonly lingerMs: number;
  readonly readBuffer: Watermarks;
  readonly writeBuffer: Watermarks & {
    readonly maxBytes: number;
    readonly maxFrames: number;
    readonly onOverflow: OverflowPolicy;
  };
  readonly memory: MemoryBudget;
}

/** What `ServerLimits` adds, complete and checked. */
export interface GateRules {
  readonly connections: number;
  readonly perAddress: number;
  readonly perNetwork: number;
  readonly acceptPerSecond: number;
  readonly acceptBurst: number;
}

/** @throws {MILLRACE_ERR_BAD_OPTION} */
export function sessionRules(limits: SessionLimits = {}, side: 'server' | 'client'): SessionRules {
  checkNames(limits);
  const isServer = side === 'server';
  const { minRate, memory = processMemory } = limits;
  const writeBuffer = watermarks('writeBuffer', limits.writeBuffer, 64 * 1024, 4096);
  return {
    firstByteMs: ms('firstByteMs', limits.firstByteMs, isServer ? 30_000 : 0),
    handshakeMs: ms('handshakeMs', limits.handshakeMs, isServer ? 60_000 : 0),
    handshakeUntil: oneOf('handshakeUntil', limits.handshakeUntil ?? 'frame', ['frame', 'ready']),
    frameMs: ms('frameMs', limits.frameMs, 30_000),
    minBytesPerSecond: number('minRate.bytesPerSecond', minRate?.bytesPerSecond ?? 0, 0),
    rateGraceMs: ms('minRate.graceMs', minRate?.graceMs, 5_000),
    idleMs: ms('idleMs', limits.idleMs, isServer ? 300_000 : 0),
    writeMs: ms('writeMs', limits.writeMs, 60_000),
    maxAgeMs: ms('maxAgeMs', limits.maxAgeMs, 0),
    maxAgeJitter: number('maxAgeJitter', limits.maxAgeJitter ?? 0.1, 0, 1),
    lingerMs: ms('lingerMs', limits.lingerMs, 5_000),
    readBuffer: watermarks('readBuffer', limits.readBuffer, 256 * 1024, 256),
    writeBuffer: {
      ...writeBuffer,
      maxBytes: number(
        'writeBuffer.maxBytes',
        limits.writeBuffer?.maxBytes ?? Math.max(16 * 1024 * 1024, writeBuffer.highBytes),
        writeBuffer.highBytes,
      ),
      maxFrames: number('writeBuffer.maxFrames', limits.writeBuffer?.maxFrames ?? 65_536, 1),
      onOverflow: oneOf('writeBuffer.onOverflow', limits.writeBuffer?.onOverflow ?? 'close', [
        'close',
        'dropNewest',
        'dropOldest',
      ]),
    },
    memory: memory instanceof MemoryBudget ? memory : new MemoryBudget(number('memory', memory, 1)),
  };
}

/** @throws {MILLRACE_ERR_BAD_OPTION} */
export function gateRules(limits: ServerLimits = {}): GateRules {
  const perSecond = number('acceptRate.perSecond', limits.acceptRate?.perSecond ?? 2_000, 0.001);
  return {
    connections: number('connections', limits.connections ?? 10_000, 1),
    perAddress: number('perAddress', limits.perAddress ?? 1_024, 1),
    perNetwork: number('perNetwork', limits.perNetwork ?? 1_024, 1),
    acceptPerSecond: perSecond,
    acceptBurst: number('acceptRate.burst', limits.acceptRate?.burst ?? Math.max(1, 2 * perSecond), 1),
  };
}

function watermarks(
  name: string,
  options: WatermarkOptions = {},
  defaultBytes: number,
  defaultFrames: number,
): Watermarks {
  const highBytes = whole(`${name}.highBytes`, options.highBytes ?? defaultBytes, 1);
  const highFrames = whole(`${name}.highFrames`, options.highFrames ?? defaultFrames, 1);
  return {
    highBytes,
    lowBytes: whole(`${name}.lowBytes`, options.lowBytes ?? Math.floor(highBytes / 4), 0, highBytes - 1),
    highFrames,
    lowFrames: whole(`${name}.lowFrames`, options.lowFrames ?? Math.floor(highFrames / 4), 0, highFrames - 1),
  };
}

// ------------------------------------------------------------------------------------------------------------- checks

const names = new Set([
  ...['firstByteMs', 'handshakeMs', 'handshakeUntil', 'frameMs', 'minRate', 'idleMs', 'writeMs', 'maxAgeMs'],
  ...['maxAgeJitter', 'lingerMs', 'readBuffer', 'writeBuffer', 'memory'],
  ...['connections', 'perAddress', 'perNetwork', 'acceptRate'],
]);

/** A limit that is misspelt is a limit that isn't there. */
function checkNames(limits: object): void {
  for (const name of Object.keys(limits)) if (!names.has(name)) throw badOption(`there is no limit '${name}'`);
}

/** A time in ms; 0 is none. */
export function ms(name: string, value: number | undefined, byDefault: number): number {
  return number(name, value ?? byDefault, 0);
}

export function whole(name: string, value: unknown, min: number, max = Number.MAX_SAFE_INTEGER): number {
  if (Number.isInteger(number(name, value, min, max))) return value as number;
  throw badOption(`${name} is a whole number, not ${value}`);
}

export function number(name: string, value: unknown, min: number, max = Number.POSITIVE_INFINITY): number {
  if (typeof value === 'number' && value >= min && value <= max) return value;
  const range = max === Number.POSITIVE_INFINITY ? `of at least ${min}` : `from ${min} to ${max}`;
  throw badOption(`${name} is a number ${range}, not ${said(value)}`);
}

export function oneOf<T extends string>(name: string, value: unknown, values: readonly T[]): T {
  if (values.includes(value as T)) return value as T;
  throw badOption(`${name} is one of ${values.join(', ')}, not ${said(value)}`);
}

function said(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : `a value of type ${typeof value}`;
}
