/** Node's argument checks, as far as `net` uses them: the same values pass and the same errors are thrown. */
import { badPort, invalidArgType, outOfRange } from './errors.ts';

export function validateNumber(value: unknown, name: string): asserts value is number {
  if (typeof value !== 'number') throw invalidArgType(name, 'of type number', value);
}

export function validateString(value: unknown, name: string): asserts value is string {
  if (typeof value !== 'string') throw invalidArgType(name, 'of type string', value);
}

export function validateBoolean(value: unknown, name: string): asserts value is boolean {
  if (typeof value !== 'boolean') throw invalidArgType(name, 'of type boolean', value);
}

export function validateObject(value: unknown, name: string): asserts value is object {
  if (value === null || Array.isArray(value) || typeof value !== 'object')
    throw invalidArgType(name, 'of type object', value);
}

export function validateFunction(value: unknown, name: string): asserts value is (...args: never[]) => unknown {
  if (typeof value !== 'function') throw invalidArgType(name, 'of type function', value);
}

export function validateInt32(value: unknown, name: string, min: number, max = 2147483647): asserts value is number {
  validateNumber(value, name);
  if (!Number.isInteger(value)) throw outOfRange(name, 'an integer', value);
  if (value < min || value > max) throw outOfRange(name, `>= ${min} && <= ${max}`, value);
}

export function validateAbortSignal(value: unknown, name: string): asserts value is AbortSignal {
  if (value !== undefined && (value === null || typeof value !== 'object' || !('aborted' in value)))
    throw invalidArgType(name, 'an instance of AbortSignal', value);
}

/** A port as a number or a numeric string. @returns the number */
export function validatePort(port: unknown, name = 'Port'): number {
  const isText = typeof port === 'string' && port.trim() !== '';
  const value = Number(port);
  if ((typeof port !== 'number' && !isText) || value !== value >>> 0 || value > 0xffff) throw badPort(name, port);
  return value;
}

const TIMEOUT_MAX = 2 ** 31 - 1;

/** A timer's duration in milliseconds. */
export function timerDuration(ms: unknown, name: string): number {
  validateNumber(ms, name);
  if (ms < 0 || !Number.isFinite(ms)) throw outOfRange(name, 'a non-negative finite number', ms);
  if (ms <= TIMEOUT_MAX) return ms;
  process.emitWarning(
    `${ms} does not fit into a 32-bit signed integer.\nTimer duration was truncated to ${TIMEOUT_MAX}.`,
    'TimeoutOverflowWarning',
  );
  return TIMEOUT_MAX;
}
