/**
 * JSON in a frame. Two things are refused that JSON allows: nesting deeper than a limit, since the programs behind us
 * recurse over it, and keys that poison a prototype as soon as somebody copies the object.
 */
import { FramingError } from './errors.ts';
import { integer, oneOf } from './options.ts';
import { type Payload, utf8Payload } from './payload.ts';

export interface JsonOptions {
  /** How deep arrays and objects may be nested: 0 for none, 64 unless given. */
  maxDepth?: number | undefined;
  /**
   * What happens to an object with a key `__proto__`, or `constructor` with a `prototype` in it. `JSON.parse` makes
   * ordinary properties of them, which is harmless until the object is merged into another. `error` unless given.
   */
  poisonedKeys?: 'error' | 'keep' | undefined;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** Only texts with one of these can have a poisoned key; the last is how a key is hidden. */
const SUSPICIOUS = /__proto__|prototype|\\u/;

export function jsonPayload(options: JsonOptions = {}): Payload<unknown> {
  const maxDepth = integer('maxDepth', options.maxDepth ?? 64, 0, 10_000);
  const keepsAll = oneOf('poisonedKeys', options.poisonedKeys ?? 'error', ['error', 'keep']) === 'keep';
  const readText = (text: string): unknown => {
    if (isDeeper(text, maxDepth)) throw new FramingError('BAD_JSON', `a frame is nested deeper than ${maxDepth}`);
    const value = parse(text);
    if (!keepsAll && SUSPICIOUS.test(text) && isPoisoned(value)) {
      throw new FramingError('BAD_JSON', 'a frame has a key __proto__ or constructor.prototype');
    }
    return value;
  };
  return {
    read: (bytes, start, end) => readText(utf8Payload.read(bytes, start, end)),
    readText,
    write(message) {
      const text = stringify(message);
      if (typeof text === 'string') return text;
      throw new FramingError('BAD_JSON', `there is no JSON for ${typeof message}`);
    },
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new FramingError('BAD_JSON', `a frame is not JSON: ${(cause as Error).message}`, { cause });
  }
}

function stringify(message: unknown): unknown {
  try {
    return JSON.stringify(message);
  } catch (cause) {
    throw new FramingError('BAD_JSON', `a message is not JSON: ${(cause as Error).message}`, { cause });
  }
}

/**
 * Looks before parsing, so that what is too deep is never built.
 *
 * @hot bench/framing.ts, json
 */
function isDeeper(text: string, limit: number): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      at = endOfString(text, at + 1);
    } else if (code === 0x5b || code === 0x7b) {
      if (++depth > limit) return true;
    } else if (code === 0x5d || code === 0x7d) {
      depth--;
    }
  }
  return false;
}

function endOfString(text: string, from: number): number {
  let at = from;
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) break;
    if (code === BACKSLASH) at++;
  }
  return at;
}

/** Goes through the value without recursion: `maxDepth` may be large. */
function isPoisoned(value: unknown): boolean {
  const rest = [value];
  while (rest.length > 0) {
    const next = rest.pop();
    if (typeof next !== 'object' || next === null) continue;
    if (Object.hasOwn(next, '__proto__')) return true;
    if (Object.hasOwn(next, 'constructor')) {
      const made: unknown = (next as { constructor: unknown }).constructor;
      if (typeof made === 'object' && made !== null && Object.hasOwn(made, 'prototype')) return true;
    }
    for (const child of Object.values(next)) rest.push(child);
  }
  return false;
}
