/**
 * What two ends of a connection may do to each other, as data: fast-check makes scripts of it, and makes a script that
 * fails shorter. src of the words: `End.act` in end.ts, which plays them.
 */
import fc from 'fast-check';

/** How a write hands its bytes over: as memory, or as text in an encoding. */
export const FORMS = [
  ...(['buffer', 'uint8array', 'view'] as const),
  ...(['latin1', 'hex', 'base64', 'base64url', 'utf8', 'utf16le', 'ascii'] as const),
] as const;
export type Form = (typeof FORMS)[number];

/** What `setEncoding` may be told. */
export const READ_ENCODINGS = ['utf8', 'latin1', 'hex', 'base64', 'utf16le'] as const;

export type Action =
  | { does: 'write'; size: number; form: Form; hasCallback: boolean }
  | { does: 'end'; size: number }
  | { does: 'turns'; count: number }
  | { does: 'read'; count: number }
  | { does: 'setEncoding'; encoding: (typeof READ_ENCODINGS)[number] }
  | { does: 'cork' | 'uncork' | 'pause' | 'resume' | 'noDelay' | 'ping' }
  | { does: 'destroy' | 'destroyWithError' | 'reset' | 'destroySoon' | 'writeAnyway' };

export type Side = 'client' | 'peer';
export type Script = [Side, Action][];

/** How the two ends are made. */
export interface Setting {
  isUnix: boolean;
  /** The client's script begins in the tick that calls `connect`. */
  isEarly: boolean;
  client: EndSetting;
  peer: EndSetting;
}

export interface EndSetting {
  allowHalfOpen: boolean;
  highWaterMark: number | undefined;
  /** Bytes are taken by `read()` on 'readable'; else they flow. */
  usesReadable: boolean;
  /** What an end does in its own listeners, where it is most likely to disturb the turn. */
  onData: 'nothing' | 'pause' | 'echo' | 'end';
  onDrain: 'nothing' | 'write';
}

const size = fc.oneof(
  { weight: 10, arbitrary: fc.integer({ min: 0, max: 100 }) },
  { weight: 6, arbitrary: fc.integer({ min: 1000, max: 70_000 }) },
  // Around a receive buffer, an arena slot, a high-water mark, what one receive may bring.
  {
    weight: 2,
    arbitrary: fc.constantFrom(1365, 1366, 2048, 2049, 4096, 4097, 8191, 8192, 8193, 16_384, 65_535, 65_536, 65_537),
  },
  { weight: 1, arbitrary: fc.constantFrom(262_144, 1_000_003, 3_000_017) },
);

const write: fc.Arbitrary<Action> = fc.record({
  does: fc.constant('write' as const),
  size,
  form: fc.constantFrom(...FORMS),
  hasCallback: fc.boolean(),
});

const calm: fc.Arbitrary<Action> = fc.oneof(
  { weight: 14, arbitrary: write },
  { weight: 5, arbitrary: fc.record({ does: fc.constant('turns' as const), count: fc.integer({ min: 1, max: 5 }) }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant('read' as const), count: size }) },
  {
    weight: 6,
    arbitrary: fc.record({
      does: fc.constantFrom(...(['cork', 'uncork', 'pause', 'resume', 'noDelay', 'ping'] as const)),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ does: fc.constant('setEncoding' as const), encoding: fc.constantFrom(...READ_ENCODINGS) }),
  },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('end' as const), size }) },
);

const violent: fc.Arbitrary<Action> = fc.oneof(
  { weight: 15, arbitrary: calm },
  {
    weight: 1,
    arbitrary: fc.record({
      does: fc.constantFrom(...(['destroy', 'destroyWithError', 'reset', 'destroySoon', 'writeAnyway'] as const)),
    }),
  },
);

const steps = (action: fc.Arbitrary<Action>, maxLength: number): fc.Arbitrary<Script> =>
  fc.array(fc.tuple(fc.constantFrom<Side>('client', 'peer'), action), { maxLength, size: 'max' });

/** Nobody destroys anything: every byte must arrive. */
export const calmScript: fc.Arbitrary<Script> = steps(calm, 30);
/** Anything goes. */
export const violentScript: fc.Arbitrary<Script> = steps(violent, 30);

const endSetting: fc.Arbitrary<EndSetting> = fc.record({
  allowHalfOpen: fc.boolean(),
  highWaterMark: fc.constantFrom(undefined, 0, 1, 100, 70_000, 1_000_000),
  usesReadable: fc.boolean(),
  onData: fc.constantFrom(...(['nothing', 'nothing', 'pause', 'echo', 'end'] as const)),
  onDrain: fc.constantFrom(...(['nothing', 'write'] as const)),
});

export const setting: fc.Arbitrary<Setting> = fc.record({
  isUnix: fc.boolean(),
  isEarly: fc.boolean(),
  client: endSetting,
  peer: endSetting,
});

/** Whether anybody may lose bytes. */
export function isCalm(script: Script): boolean {
  return !script.some(([, { does }]) =>
    ['destroy', 'destroyWithError', 'reset', 'destroySoon', 'writeAnyway'].includes(does),
  );
}
