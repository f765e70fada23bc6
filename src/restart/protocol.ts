/**
 * What two processes say to each other, over a `DescriptorChannel`. The next process begins.
 *
 * ```
 *  next                                 serving
 *  hello ───────────────────────────>
 *        <──────────────── sockets …    listening sockets, the last message says so; or: refused
 *  (starts; listens on them without accepting)
 *  ready ───────────────────────────>   or: failed
 *        <───────────────── granted     or: aborted
 *  (accepts)
 *  serving ─────────────────────────>
 *        <───────────── connection …    those that were asked for
 *        <──────────────────── done     drained; the end of the channel follows
 * ```
 *
 * A payload is the length of its JSON (4 bytes, little endian), the JSON, and bytes: what was read from a connection already.
 */
import type { Place } from '../engine/open-listener.ts';

/** Of what is said here. Both sides have to have the same. */
export const PROTOCOL = 1;

/** A listening socket; its descriptor travels with the message. */
export interface SocketRecord {
  readonly place: Readonly<Place>;
  /** As systemd calls it, if it came from there. */
  readonly name: string | undefined;
}

/** What is said, by its name. */
export interface Messages {
  hello: { protocol: number; pid: number };
  refused: { protocol: number; message: string };
  sockets: { sockets: SocketRecord[]; isLast: boolean };
  failed: { message: string };
  ready: object;
  granted: object;
  aborted: { message: string };
  serving: object;
  connection: { allowHalfOpen: boolean; isEnded: boolean; data: unknown };
  done: object;
}

export type MessageName = keyof Messages;
export type Message = { [Name in MessageName]: { is: Name } & Messages[Name] }[MessageName];

export function encode(message: Message, bytes: Uint8Array = NOTHING): Buffer {
  const json = Buffer.from(JSON.stringify(message));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(json.byteLength);
  return Buffer.concat([length, json, bytes]);
}

const NOTHING = new Uint8Array(0);

type Fields = Record<string, unknown>;

const isText = (value: unknown): boolean => typeof value === 'string';
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
const isFlag = (value: unknown): boolean => typeof value === 'boolean';
const isTextOrNothing = (value: unknown): boolean => value === undefined || isText(value);
const isCountOrNothing = (value: unknown): boolean => value === undefined || isCount(value);

/** Whether the fields of a message are what they should be. */
const checks: { readonly [Name in MessageName]: (fields: Fields) => boolean } = {
  hello: ({ protocol, pid }) => isCount(protocol) && isCount(pid),
  refused: ({ protocol, message }) => isCount(protocol) && isText(message),
  sockets: ({ sockets, isLast }) => Array.isArray(sockets) && sockets.every(isSocket) && isFlag(isLast),
  failed: ({ message }) => isText(message),
  ready: () => true,
  granted: () => true,
  aborted: ({ message }) => isText(message),
  serving: () => true,
  connection: ({ allowHalfOpen, isEnded }) => isFlag(allowHalfOpen) && isFlag(isEnded),
  done: () => true,
};

function isSocket(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { place, name } = value as Fields;
  return typeof place === 'object' && place !== null && isPlace(place as Fields) && isTextOrNothing(name);
}

function isPlace({ address, port, family, fd, ipv6Only, reusePort }: Fields): boolean {
  return (
    (address === null || isText(address)) &&
    (port === undefined || Number.isInteger(port)) &&
    [4, 6, -1].includes(family as number) &&
    isCountOrNothing(fd) &&
    isFlag(ipv6Only) &&
    isFlag(reusePort)
  );
}

/** @returns the message and the bytes behind it; undefined for what is none */
export function decode(payload: Buffer): { message: Message; bytes: Buffer } | undefined {
  if (payload.byteLength < 4) return undefined;
  const end = 4 + payload.readUInt32LE(0);
  if (end > payload.byteLength) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(payload.toString('utf8', 4, end));
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const fields = value as Fields;
  const name = fields['is'];
  if (typeof name !== 'string' || !Object.hasOwn(checks, name) || !checks[name as MessageName](fields))
    return undefined;
  return { message: fields as unknown as Message, bytes: payload.subarray(end) };
}

/** How many descriptors a message has to bring. */
export function descriptorsOf(message: Message): number {
  if (message.is === 'sockets') return message.sockets.length;
  return message.is === 'connection' ? 1 : 0;
}
