/**
 * What the primary and a worker tell each other about listening, on the channel of descriptors, as JSON.
 *
 * ```
 *  worker                                        primary
 *  listen  { ask, key, place }                ─>
 *                                             <─ socket  { ask }  + the listening socket
 *                                                inlet   { ask, sockaddr }
 *                                                refused { ask, errno }
 *  started { key }    takes connections       ─>
 *                                             <─ connections { key, heads }  + their descriptors
 *  returned { key, head }  + a descriptor     ─> no room, or stopped meanwhile
 *  stopped { key }    takes none any more     ─>
 *  ready   {}         here, behind `started`  ─>
 * ```
 */
import type { Place } from '../protocol.ts';

export type FromListener =
  | {
      readonly is: 'listen';
      readonly ask: number;
      readonly key: string;
      readonly place: Place;
      readonly backlog: number;
    }
  | { readonly is: 'started'; readonly key: string }
  | { readonly is: 'returned'; readonly key: string; readonly head: string | undefined }
  | { readonly is: 'stopped'; readonly key: string }
  | { readonly is: 'ready' }
  /** It is about to drain: the answer is 'last'. */
  | { readonly is: 'leaving' };

export type ToListener =
  | { readonly is: 'socket'; readonly ask: number; readonly isShared: boolean; readonly keepsPath: boolean }
  | { readonly is: 'inlet'; readonly ask: number; readonly sockaddr: string }
  | { readonly is: 'refused'; readonly ask: number; readonly errno: number }
  /** No connection comes any more. */
  | { readonly is: 'last' }
  /** `heads`: what was read from each already, in base64; not there if nothing was. */
  | { readonly is: 'connections'; readonly key: string; readonly heads: readonly string[] | undefined };

export const encode = (message: FromListener | ToListener): Buffer => Buffer.from(JSON.stringify(message));
export const decode = <T extends FromListener | ToListener>(payload: Buffer): T => JSON.parse(payload.toString()) as T;

export const toText = (head: Uint8Array | undefined): string =>
  head === undefined ? '' : Buffer.from(head.buffer, head.byteOffset, head.byteLength).toString('base64');
export const toBytes = (head: string | undefined): Buffer | undefined =>
  head === undefined || head === '' ? undefined : Buffer.from(head, 'base64');
