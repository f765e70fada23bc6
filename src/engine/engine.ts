/**
 * Which engine this thread runs on, and why. Decided once, when the module is loaded, by trying: io_uring, else the
 * epoll ring, else Node's own `net`. `MILLRACE_ENGINE` forces one; a forced one that can't be had is an error here,
 * never a silent change.
 */
import { builtins } from './builtins.ts';
import { loadNative } from './native.ts';
import type { RingKind } from './ring.ts';
import { Turn } from './turn.ts';

export type EngineName = RingKind | 'node';

/** What was found: the name, a sentence that says why, and this thread's turn if the engine is our own. */
export interface EngineChoice {
  readonly name: EngineName;
  readonly reason: string;
  readonly turn: Turn | null;
}

const NAMES: readonly string[] = ['io_uring', 'epoll', 'node'];

/** Why no native part may be loaded here at all, or `undefined`. */
function platformRefusal(): string | undefined {
  if (process.versions['bun'] !== undefined) return 'Bun has its own sockets and crashes on foreign poll handles';
  if (process.versions['deno'] !== undefined) return 'Deno has its own sockets';
  if (process.platform !== 'linux') return `the engine needs Linux, this is ${process.platform}`;
  if (process.arch !== 'x64' && process.arch !== 'arm64')
    return `the engine needs x64 or arm64, this is ${process.arch}`;
  return undefined;
}

/** Opens a ring, or says in words why not. */
function open(kind: RingKind): Turn | string {
  const native = loadNative();
  if (typeof native === 'string') return native;
  try {
    const turn = Turn.open(native, kind);
    if (typeof turn !== 'number') return turn;
    const call = kind === 'io_uring' ? 'io_uring_setup' : 'epoll_create1';
    return `${call}: ${builtins.util.getSystemErrorName(turn)}${hint(kind, turn)}`;
  } catch (error) {
    return `${kind}: ${(error as Error).message}`;
  }
}

function hint(kind: RingKind, errno: number): string {
  if (kind !== 'io_uring') return '';
  if (errno === -1) return ' (refused by a seccomp profile, as in Docker by default, or by kernel.io_uring_disabled)';
  if (errno === -38) return ' (this kernel has no io_uring)';
  if (errno === -22) return ' (this kernel is older than Linux 6.0)';
  return '';
}

function choose(): EngineChoice {
  const forced = process.env['MILLRACE_ENGINE'];
  if (forced !== undefined && forced !== '') return force(forced);
  const refusal = platformRefusal();
  if (refusal !== undefined) return { name: 'node', reason: refusal, turn: null };
  const uring = open('io_uring');
  if (typeof uring !== 'string') return { name: 'io_uring', reason: 'the kernel has all that is needed', turn: uring };
  const epoll = open('epoll');
  if (typeof epoll !== 'string') return { name: 'epoll', reason: uring, turn: epoll };
  return { name: 'node', reason: uring === epoll ? uring : `${uring}; ${epoll}`, turn: null };
}

function force(name: string): EngineChoice {
  const reason = `forced by MILLRACE_ENGINE=${name}`;
  if (!NAMES.includes(name)) throw unavailable(name, `the engines are ${NAMES.join(', ')}`);
  if (name === 'node') return { name, reason, turn: null };
  const turn = platformRefusal() ?? open(name as RingKind);
  if (typeof turn === 'string') throw unavailable(name, turn);
  return { name: name as RingKind, reason, turn };
}

function unavailable(name: string, why: string): Error {
  const error = new Error(`MILLRACE_ENGINE=${name} can't be had: ${why}`) as NodeJS.ErrnoException;
  error.code = 'MILLRACE_ERR_ENGINE';
  return error;
}

export const choice: EngineChoice = choose();

/** What is in use in this thread: for tests and for diagnosis. All zero when every connection is closed. */
export function inspect(): { endpoints: number; arenaInUse: number; lentBuffers: number } {
  const { turn } = choice;
  if (turn === null) return { endpoints: 0, arenaInUse: 0, lentBuffers: 0 };
  return { endpoints: turn.slots.inUse, arenaInUse: turn.arena.inUse, lentBuffers: turn.lentBuffers };
}

/** What is open in this thread: connections, listeners, and free slots. */
export function endpoints(): readonly unknown[] {
  return choice.turn?.slots.owners ?? [];
}

if (choice.turn !== null) {
  const { turn } = choice;
  // What was written in the tick that calls process.exit() goes out, as it would from Node's own sockets. What an 'exit'
  // listener writes is submitted at once, and handed over when the native part is torn down.
  process.on('exit', () => turn.end());
}
