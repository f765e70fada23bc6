/** Process-wide defaults of connecting: those that Node's command line can change are this process's own Node's. */
import net from 'node:net';
import { invalidArgType } from './errors.ts';
import { validateInt32 } from './validate.ts';

export const LEAST_ATTEMPT_TIMEOUT_MS = 10;

export const autoSelectFamilyDefaults = {
  isOn: net.getDefaultAutoSelectFamily(),
  attemptTimeoutMs: net.getDefaultAutoSelectFamilyAttemptTimeout(),
};

/** Attempts that overlap; an addition of ours. */
export interface HappyEyeballs {
  /**
   * RFC 8305's Connection Attempt Delay: how long an attempt is alone before the next one starts beside it, in
   * milliseconds. From 10 to 2000, 250 unless given.
   */
  attemptDelayMs?: number;
}

/** RFC 8305 section 8 */
const DELAY_MS = { least: 10, most: 2000, usual: 250 } as const;

/** @returns the delay in milliseconds, or `undefined` for attempts that don't overlap */
export function attemptDelayOf(value: unknown, name: string): number | undefined {
  if (value === false) return undefined;
  if (value === true) return DELAY_MS.usual;
  if (typeof value !== 'object' || value === null) throw invalidArgType(name, 'of type boolean or object', value);
  const { attemptDelayMs = DELAY_MS.usual } = value as HappyEyeballs;
  validateInt32(attemptDelayMs, `${name}.attemptDelayMs`, DELAY_MS.least, DELAY_MS.most);
  return attemptDelayMs;
}

let defaultDelayMs: number | undefined;

export function defaultAttemptDelay(): number | undefined {
  return defaultDelayMs;
}

/**
 * Whether connections overlap their attempts unless told otherwise: `false` at first, or with which delay.
 * An addition of ours.
 */
export function getDefaultHappyEyeballs(): false | Required<HappyEyeballs> {
  return defaultDelayMs === undefined ? false : { attemptDelayMs: defaultDelayMs };
}

/**
 * Has the connections of this thread overlap their attempts (RFC 8305) where Node's would be made one after the other.
 * Connections made without family selection (`autoSelectFamily: false`, or by Node's command line) stay as they are.
 * An addition of ours; without effect where the engine is `node`.
 *
 * @throws {ERR_INVALID_ARG_TYPE} neither a boolean nor an object
 * @throws {ERR_OUT_OF_RANGE} a delay that is not from 10 to 2000 ms
 */
export function setDefaultHappyEyeballs(value: boolean | HappyEyeballs): void {
  defaultDelayMs = attemptDelayOf(value, 'value');
}
