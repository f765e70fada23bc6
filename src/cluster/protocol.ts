/** What the primary and a worker tell each other on their control link, and what a worker is told when it is started. */
import type { MessagePort } from 'node:worker_threads';
import type { ChannelEnd } from '../engine/descriptor-channel.ts';
import type { Drained } from '../engine/serving.ts';
import type { RowConfig } from './counters/index.ts';
import type { ErrorData } from './error-data.ts';
import type { MessageLimits } from './messages/index.ts';

/** A worker's beginning. */
export interface WorkerConfig {
  readonly id: number;
  readonly slot: number;
  readonly generation: number;
  readonly kind: 'processes' | 'threads';
  /** The module to import. */
  readonly entry: string;
  readonly hasSetup: boolean;
  readonly drainMs: number;
  readonly signals: boolean;
  readonly args: readonly string[];
  readonly data: unknown;
  readonly messages: MessageLimits;
  /** Where its figures are; `undefined` if the group has none. */
  readonly counters: RowConfig | undefined;
}

/** What a thread is started with. */
export interface ThreadData {
  readonly millrace: WorkerConfig;
  readonly control: MessagePort;
  readonly bus: MessagePort;
  readonly end: ChannelEnd;
  /** What is added to the environment of its process. */
  readonly env: Record<string, string>;
}

/** Of the end of the channel in a process: after stdin, stdout, stderr and the process channel. */
export const DESCRIPTOR_OF_CHANNEL = 4;
/** Of the file of counters, if there are any. */
export const DESCRIPTOR_OF_COUNTERS = 5;

/** A place to listen on, as a server asks for it. */
export interface Place {
  readonly address: string | null;
  readonly port: number | undefined;
  readonly family: 4 | 6 | -1;
  readonly fd: number | undefined;
  readonly ipv6Only: boolean;
}

export type FromWorker =
  /** On engine `node`; otherwise it is said on the channel of descriptors, behind what was said about listening. */
  | { readonly is: 'ready' }
  | { readonly is: 'failed'; readonly error: ErrorData }
  /** It has begun to drain, whoever wanted that. */
  | { readonly is: 'draining' }
  | { readonly is: 'drained'; readonly drained: Drained }
  /** How many connections it has, and how many of those that were given to it are among them or have been. */
  | { readonly is: 'load'; readonly connections: number; readonly taken: number };

export type FromPrimary =
  | { readonly is: 'drain'; readonly deadlineMs: number }
  /** It was drained, and all it had to say was heard. */
  | { readonly is: 'exit' };
