/** What a user of `listen` and `connect` may say, checked, and what holds where nothing is said. */

import { builtins } from '../engine/builtins.ts';
import type { ConnectionOptions, Handlers, OverflowPolicy, WriteLimits } from './api.ts';
import { DirectError } from './errors.ts';
import type { Security } from './security.ts';

/** Limits with every value there. One object for all connections of a server. */
export interface Limits {
  readonly highWaterMark: number;
  readonly lowWaterMark: number;
  readonly maxBufferedBytes: number;
  readonly overflow: OverflowPolicy;
}

/** How each connection of a server begins. */
export interface Beginning {
  readonly limits: Limits;
  readonly allowHalfOpen: boolean;
  readonly noDelay: boolean;
  readonly keepAlive: boolean;
  readonly keepAliveInitialDelayMs: number;
  /** How they become secure, if they do. */
  readonly security: Security | null;
  readonly readIdleMs: number;
  readonly writeIdleMs: number;
}

const HIGH_WATER_MARK = 64 * 1024;
const MOST_BUFFERED_BYTES = 16 * 1024 * 1024;
const POLICIES: readonly string[] = ['close', 'dropNewest', 'dropOldest'];
/** setsockopt(2) takes an int. */
const MOST_INT = 2 ** 31 - 1;

const HANDLERS = ['open', 'data', 'secure', 'drain', 'end', 'timeout', 'close', 'error'] as const;

export const badOption = (name: string, what: string, got: unknown): DirectError =>
  new DirectError('BAD_OPTION', `${name} must be ${what}, not ${builtins.util.inspect(got, { depth: 0 })}`);

/** @throws {DirectError} BAD_OPTION */
export function checkHandlers(handlers: Handlers<never>): void {
  if (typeof handlers !== 'object' || handlers === null) throw badOption('handlers', 'an object', handlers);
  for (const name of HANDLERS) {
    const handler = handlers[name] as unknown;
    if (handler !== undefined && typeof handler !== 'function') throw badOption(name, 'a function', handler);
  }
}

/** @throws {DirectError} BAD_OPTION */
export function beginningOf(options: ConnectionOptions, security: Security | null = null): Beginning {
  const { idle = {} } = options;
  if (typeof idle !== 'object' || idle === null) throw badOption('idle', 'an object', idle);
  return {
    limits: limitsOf(options.limits),
    security,
    allowHalfOpen: flag(options.allowHalfOpen, 'allowHalfOpen', false),
    noDelay: flag(options.noDelay, 'noDelay', true),
    keepAlive: flag(options.keepAlive, 'keepAlive', false),
    keepAliveInitialDelayMs: integer(options.keepAliveInitialDelayMs, 'keepAliveInitialDelayMs', 0),
    readIdleMs: integer(idle.readMs, 'idle.readMs', 0),
    writeIdleMs: integer(idle.writeMs, 'idle.writeMs', 0),
  };
}

/** @throws {DirectError} BAD_OPTION */
function limitsOf(limits: WriteLimits = {}): Limits {
  if (typeof limits !== 'object' || limits === null) throw badOption('limits', 'an object', limits);
  const most = Number.MAX_SAFE_INTEGER;
  const maxBufferedBytes = integer(limits.maxBufferedBytes, 'limits.maxBufferedBytes', MOST_BUFFERED_BYTES, 1, most);
  const usualMark = Math.min(HIGH_WATER_MARK, maxBufferedBytes);
  const highWaterMark = integer(limits.highWaterMark, 'limits.highWaterMark', usualMark, 0, maxBufferedBytes);
  const lowWaterMark = integer(limits.lowWaterMark, 'limits.lowWaterMark', highWaterMark >>> 2, 0, highWaterMark);
  const { overflow = 'close' } = limits;
  if (!POLICIES.includes(overflow)) throw badOption('limits.overflow', `one of ${POLICIES.join(', ')}`, overflow);
  return { highWaterMark, lowWaterMark, maxBufferedBytes, overflow };
}

/** @throws {DirectError} BAD_OPTION */
export function flag(value: boolean | undefined, name: string, unlessGiven: boolean): boolean {
  if (value === undefined) return unlessGiven;
  if (typeof value !== 'boolean') throw badOption(name, 'true or false', value);
  return value;
}

/** @throws {DirectError} BAD_OPTION */
export function integer(
  value: number | undefined,
  name: string,
  unlessGiven: number,
  least = 0,
  most: number = MOST_INT,
): number {
  if (value === undefined) return unlessGiven;
  if (!Number.isInteger(value) || value < least || value > most)
    throw badOption(name, `an integer from ${least} to ${most}`, value);
  return value;
}

/** A host's name, or a path. @throws {DirectError} BAD_OPTION */
export function checkName(value: string, name: string): string {
  if (typeof value !== 'string' || value === '') throw badOption(name, 'text, and not empty', value);
  return value;
}

/** @throws {DirectError} BAD_OPTION */
export function checkSignal(signal: AbortSignal | undefined): void {
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw badOption('signal', 'an AbortSignal', signal);
}
