/** Checks of options. A codec is made once and used for years: what makes no sense is said when it is made. */
import { constants } from 'node:buffer';
import { FramingError } from './errors.ts';

/** The limit of every codec that is given none: 1 MiB. */
export const DEFAULT_MAX_FRAME_BYTES = 1024 * 1024;

/** What every framing takes. */
export interface LimitOptions {
  /**
   * The most bytes a frame may have: of what is handed out, without prefix or delimiter. Larger ones are refused when
   * they are declared, or when that many bytes have come without an end; on the way out, before anything is written. 1
   * MiB (1,048,576) unless given.
   */
  maxFrameBytes?: number | undefined;
}

export function maxFrameBytesOf(options: LimitOptions): number {
  return integer('maxFrameBytes', options.maxFrameBytes ?? DEFAULT_MAX_FRAME_BYTES, 0, constants.MAX_LENGTH - 1024);
}

export function integer(name: string, value: unknown, min: number, max: number): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
  throw new FramingError('BAD_OPTION', `${name} is a whole number from ${min} to ${max}, not ${said(value)}`);
}

export function oneOf<T extends string>(name: string, value: unknown, values: readonly T[]): T {
  if (values.includes(value as T)) return value as T;
  throw new FramingError('BAD_OPTION', `${name} is one of ${values.join(', ')}, not ${said(value)}`);
}

/** A value for a message: short, and whatever it is. */
export function said(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object';
  return typeof value === 'function' ? 'a function' : String(value);
}
