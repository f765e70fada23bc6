/**
 * The native part for TLS, typed: OpenSSL as this process's Node.js has it. native/tls/ is the other half. It is loaded by
 * whoever imports `millrace/tls`, and by nobody else.
 *
 * docs/decisions/0080-tls-openssl.md: which versions, and how that is checked.
 */
import { builtins } from '../engine/builtins.ts';

/** What a call has brought about: bits. */
export const EVENT = {
  SECURE: 1,
  MORE: 2,
  CLOSED: 4,
  FAILED: 8,
  HELLO: 16,
  CERTIFICATE: 32,
  SESSION: 64,
  KEYLOG: 128,
  OCSP: 256,
  FREED: 512,
} as const;

/** Words of `status` after a call. */
export const STATUS = { CONSUMED: 0, PLAIN: 1, ENCRYPTED: 2, SPILLED: 3 } as const;

export const CONTEXT = {
  CERTIFICATE: 0,
  KEY: 1,
  CA: 2,
  CRL: 3,
  PFX: 4,
  CIPHERS: 5,
  SUITES: 6,
  GROUPS: 7,
  SIGALGS: 8,
  DH: 9,
  SESSION_ID_CONTEXT: 10,
  TICKET_KEYS: 11,
  TIMEOUT: 12,
  PARTIAL_CHAIN: 13,
  KEYLOG: 14,
} as const;

export const CONFIGURE = {
  VERIFY: 0,
  SERVERNAME: 1,
  ALPN: 2,
  SESSION: 3,
  OCSP_REQUEST: 4,
  OCSP_RESPONSE: 5,
  WANTS: 6,
  RESUME: 7,
  LOADED_SESSION: 8,
  MAX_FRAGMENT: 9,
  CONTEXT: 10,
} as const;

export const INSPECT = {
  VERSION: 0,
  CIPHER: 1,
  PEER_CERTIFICATES: 2,
  CERTIFICATE: 3,
  SESSION: 4,
  FINISHED: 5,
  PEER_FINISHED: 6,
  VERIFY_RESULT: 7,
  ALPN: 8,
  SERVERNAME: 9,
  IS_REUSED: 10,
  EPHEMERAL_KEY: 11,
  SHARED_SIGALGS: 12,
  TICKET: 13,
  HELLO: 14,
  NEW_SESSIONS: 15,
  KEYLOG: 16,
  OCSP: 17,
  IS_OCSP_REQUESTED: 18,
} as const;

declare const kContext: unique symbol;
declare const kConnection: unique symbol;
/** A context of the native part. Freed when nobody holds it. */
export type NativeContext = object & { readonly [kContext]: true };
/** A connection of the native part: an SSL. */
export type NativeConnection = object & { readonly [kConnection]: true };

/** Message as `ERR_print_errors` has it, library, reason. */
export type Failure = [message: Buffer, library: string | undefined, reason: string | undefined];

/** -1 is a failure, about which `failure()` has more. */
export interface TlsNative {
  /** The name of a function of OpenSSL that this Node.js does not export. */
  missing(): string | undefined;
  version(): number;
  /** Memory that the calls of this thread write to: plain bytes, encrypted bytes, `STATUS`. Once. */
  setUp(plain: Uint8Array, encrypted: Uint8Array, status: Int32Array): number;
  failure(connection?: NativeConnection): Failure;
  context(minVersion: number, maxVersion: number, options: number): NativeContext | -1;
  /** `value` and `passphrase` have a zero behind their last byte. */
  set(
    context: NativeContext,
    setting: number,
    value: Uint8Array,
    passphrase: Uint8Array | undefined,
    number: number,
  ): number;
  shareRoots(context: NativeContext, roots: NativeContext): number;
  contextBytes(context: NativeContext, which: 0 | 1): Buffer | null;
  open(context: NativeContext, isServer: boolean): NativeConnection | -1;
  /**
   * Encrypted bytes in. @returns `EVENT` bits; `status` says how many plain and encrypted bytes came out: the former into
   * `plain` of `setUp`, or behind `outStart` of `out`, which has room for `RECORD_BYTES` at least. @hot
   */
  feed(
    connection: NativeConnection,
    memory: Uint8Array,
    start: number,
    length: number,
    out?: Uint8Array,
    outStart?: number,
  ): number;
  /** Plain bytes in, encrypted bytes into `out` from `outStart`, at most `outRoom`. @returns `EVENT` bits @hot */
  write(
    connection: NativeConnection,
    memory: Uint8Array,
    start: number,
    length: number,
    out: Uint8Array,
    outStart: number,
    outRoom: number,
  ): number;
  shutdown(connection: NativeConnection): number;
  /** The encrypted bytes that found no room in the last call. */
  spilled(connection: NativeConnection): Buffer;
  configure(connection: NativeConnection, what: number, value: number, more: Uint8Array | NativeContext | null): number;
  inspect(connection: NativeConnection, what: number): unknown;
  exportKeyingMaterial(
    connection: NativeConnection,
    out: Uint8Array,
    label: Uint8Array,
    context: Uint8Array | undefined,
  ): number;
  free(connection: NativeConnection): void;
}

/** Four records' worth of plain bytes: what one receive of the engine's largest buffer brings. */
const PLAIN_BYTES = 65536 + 16384;
/** Flights of a handshake, alerts, key updates; longer ones spill. */
const ENCRYPTED_BYTES = 32768;

/** What the calls of this thread write to. */
export const plain: Buffer = Buffer.alloc(PLAIN_BYTES);
export const plainWords: Int32Array = new Int32Array(plain.buffer, plain.byteOffset, PLAIN_BYTES >> 2);
export const encrypted: Buffer = Buffer.alloc(ENCRYPTED_BYTES);
export const status: Int32Array = new Int32Array(4);

/** OpenSSL 3.0 to 3.x: the functions of openssl.h have one signature in all of them. */
const LEAST_VERSION = 0x30000000;
const NEXT_MAJOR = 0x40000000;

function candidates(): string[] {
  const root = new URL('../../', import.meta.url);
  const override = process.env['MILLRACE_NATIVE_TLS'];
  const paths = [
    new URL('.build/millrace-tls.node', root).pathname,
    new URL(`prebuilt/linux-${process.arch}-tls.node`, root).pathname,
  ].map(decodeURIComponent);
  return override === undefined ? paths : [override];
}

let loaded: TlsNative | string | undefined;

/** @returns the native part, set up; or the reason in words why there is none. The same one for all who ask */
export function loadTlsNative(): TlsNative | string {
  loaded ??= load();
  return loaded;
}

function load(): TlsNative | string {
  if (process.platform !== 'linux' || process.versions['bun'] !== undefined)
    return `no native TLS for ${process.platform}`;
  const require = builtins.module.createRequire(import.meta.url);
  let reason = `no native TLS part for ${process.platform}-${process.arch} in this package, and none was compiled`;
  for (const path of candidates()) {
    try {
      return check(require(path) as Partial<TlsNative>);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code !== 'MODULE_NOT_FOUND') reason = `the native TLS part could not be loaded: ${message.split('\n')[0]}`;
    }
  }
  return reason;
}

function check(native: Partial<TlsNative>): TlsNative | string {
  if (native.missing === undefined) return 'this Node.js does not export OpenSSL';
  const own = native as TlsNative;
  const version = own.version();
  const missing = own.missing();
  if (version < LEAST_VERSION || version >= NEXT_MAJOR)
    return `this Node.js has OpenSSL ${version.toString(16)}, not 3.x`;
  if (missing !== undefined) return `this Node.js does not export ${missing} of OpenSSL`;
  if (own.setUp(plain, encrypted, status) !== 0) return 'OpenSSL could not be set up';
  return own;
}
