/** Options of `tls` in one place: what they may be, and which of them only Node's own TLS can serve. */

import type { Duplex } from 'node:stream';
import type nodeTls from 'node:tls';
import type { SocketClass } from '../net/socket.ts';
import type { TlsServerClass as Server } from './server.ts';

/** What a TLSSocket is made with; the public ones are Node's. */
export interface TlsSocketOptions extends Omit<nodeTls.TLSSocketOptions, 'server' | 'SNICallback' | 'secureContext'> {
  secureContext?: object;
  credentials?: object;
  server?: Server;
  SNICallback?: SniCallback | undefined;
  ALPNCallback?: ((hello: { servername: string | undefined; protocols: string[] }) => string | undefined) | undefined;
  handshakeTimeout?: number;
  allowHalfOpen?: boolean;
  pauseOnConnect?: boolean | undefined;
  highWaterMark?: number | undefined;
  onread?: unknown;
  signal?: AbortSignal | undefined;
  noDelay?: boolean | undefined;
  keepAlive?: boolean | undefined;
  keepAliveInitialDelay?: number | undefined;
  pskCallback?: unknown;
  pskIdentityHint?: unknown;
  enableTrace?: boolean;
  requestOCSP?: boolean;
}

export type SniCallback = (
  this: unknown,
  servername: string,
  callback: (error: Error | null, context?: object) => void,
) => void;

/** What `tls.connect` takes. */
export interface ConnectionOptions {
  [name: string]: unknown;
  host?: string;
  port?: number | string;
  path?: string;
  localAddress?: string;
  servername?: string;
  socket?: Duplex | SocketClass;
  session?: Buffer | string | undefined;
  secureContext?: object;
  rejectUnauthorized?: boolean;
  minDHSize?: number;
  checkServerIdentity?: typeof nodeTls.checkServerIdentity;
  timeout?: number;
}

/** Pre-shared keys and traces are Node's: nothing of ours is asked then. */
export function needsNode(options: { pskCallback?: unknown; enableTrace?: unknown }): boolean {
  return Boolean(options.pskCallback) || Boolean(options.enableTrace) || tracesTls;
}

const tracesTls =
  process.execArgv.includes('--trace-tls') || process.execArgv.some((argument) => argument.startsWith('--tls-keylog'));
