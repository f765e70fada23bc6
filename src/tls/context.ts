/**
 * Contexts: `createSecureContext` gives Node's own SecureContext, which has checked every option and has thrown Node's
 * errors; beside it stands ours, of the same options, made when the first connection needs it.
 *
 * A context that was not made here (by `node:tls`), or has what only Node's can (engines, old protocol methods), has none
 * beside it: its connections are Node's.
 */
import nodeTls from 'node:tls';
import { builtins } from '../engine/builtins.ts';
import { opensslError } from './errors.ts';
import { CONTEXT, type NativeContext, type TlsNative } from './native.ts';

export type ContextOptions = nodeTls.SecureContextOptions;

type Bytes = string | NodeJS.ArrayBufferView;

/** Node's SecureContext: a wrapper with the native one in `context`. */
export interface SecureContext extends nodeTls.SecureContext {
  context: { getTicketKeys(): Buffer; addCACert(certificate: Bytes): void };
}

/** Options by context, and by the native context in it, which `addContext` hands to SNICallback. */
const optionsOf = new WeakMap<object, ContextOptions>();
/** Roots that were added afterwards. */
const trusted = new WeakMap<object, Bytes[]>();
const built = new WeakMap<object, NativeContext>();
const natives = new WeakMap<object, object>();

/** TLS1_VERSION and its followers */
const VERSIONS: Readonly<Record<string, number>> = {
  TLSv1: 0x301,
  'TLSv1.1': 0x302,
  'TLSv1.2': 0x303,
  'TLSv1.3': 0x304,
};
/** `secureProtocol` as Node's SecureContext reads it: least version (0: any; undefined: the default) and greatest. */
const PROTOCOLS: Readonly<Record<string, [min: number | undefined, max: number]>> = {
  SSLv23_method: [undefined, 0x303],
  TLS_method: [0, 0x304],
  TLSv1_method: [0x301, 0x301],
  TLSv1_1_method: [0x302, 0x302],
  TLSv1_2_method: [0x303, 0x303],
};
/** SSL_OP_CIPHER_SERVER_PREFERENCE, ssl.h */
const SERVER_PREFERENCE = 2 ** 22;

/** @see https://nodejs.org/api/tls.html#tlscreatesecurecontextoptions */
export function createSecureContext(options?: ContextOptions): SecureContext {
  const context = nodeTls.createSecureContext(options) as SecureContext;
  remember(context, options ?? {});
  return context;
}

export function remember(context: SecureContext, options: ContextOptions): void {
  if (optionsOf.has(context)) return;
  optionsOf.set(context, { ...options });
  natives.set(context.context, context);
  const { context: native } = context;
  const { addCACert } = native;
  // Undocumented, and what programs call to trust one more root.
  native.addCACert = (certificate) => {
    addCACert.call(native, certificate);
    const more = trusted.get(context) ?? [];
    more.push(certificate);
    trusted.set(context, more);
    built.delete(context); // connections from now on trust it
  };
}

/** Whether it is known of what options a context was made. */
export function isKnown(of: object): boolean {
  return optionsOf.has(natives.get(of) ?? of);
}

/** Ours beside one of Node's contexts; undefined where there is none. */
export function nativeContext(native: TlsNative, of: object): NativeContext | undefined {
  const context = (natives.get(of) ?? of) as SecureContext;
  const standing = built.get(context);
  if (standing !== undefined) return standing;
  const options = optionsOf.get(context);
  if (options === undefined || !isOurs(options)) return undefined;
  const made = build(native, context, options);
  built.set(context, made);
  return made;
}

function isOurs(options: ContextOptions): boolean {
  const { secureProtocol, clientCertEngine, privateKeyEngine, privateKeyIdentifier, certificateCompression } =
    options as ContextOptions & { certificateCompression?: unknown };
  if (secureProtocol && !(secureProtocol in PROTOCOLS)) return false;
  if (clientCertEngine || privateKeyEngine || privateKeyIdentifier || certificateCompression) return false;
  return options.ca ? true : !usesOpensslRoots();
}

/** Where Node asks OpenSSL's own folders, only Node knows whom it trusts. */
function usesOpensslRoots(): boolean {
  return `${process.execArgv.join(' ')} ${process.env['NODE_OPTIONS'] ?? ''}`.includes('--use-openssl-ca');
}

function build(native: TlsNative, secureContext: SecureContext, options: ContextOptions): NativeContext {
  const { ciphers, suites } = splitCiphers(options.ciphers || nodeTls.DEFAULT_CIPHERS);
  const onlyTls13 = ciphers === '';
  const [protocolMin, protocolMax] = (options.secureProtocol && PROTOCOLS[options.secureProtocol]) || [];
  const max = protocolMax ?? (VERSIONS[options.maxVersion ?? nodeTls.DEFAULT_MAX_VERSION] as number);
  let min = protocolMin ?? (VERSIONS[options.minVersion ?? nodeTls.DEFAULT_MIN_VERSION] as number);
  if (onlyTls13 && min < 0x304 && max > 0x303) min = 0x304;
  const preference = options.honorCipherOrder ? SERVER_PREFERENCE : 0;
  const flags = BigInt(options.secureOptions ?? 0) | BigInt(preference);
  const context = native.context(min, max, Number(flags));
  if (context === -1) throw opensslError(native.failure());
  const set = (setting: number, value: Bytes, passphrase?: Bytes | null, number = 0): void => {
    const bytes = terminated(value);
    const secret = passphrase == null ? undefined : terminated(passphrase);
    const result = native.set(context, setting, bytes, secret, number);
    bytes.fill(0); // a key, perhaps
    secret?.fill(0);
    if (result !== 0) throw opensslError(native.failure());
  };
  if (suites !== '') set(CONTEXT.SUITES, suites);
  if (ciphers !== '') set(CONTEXT.CIPHERS, ciphers);
  // Shared roots must not get what is one context's own.
  const more = trusted.get(secureContext) ?? [];
  const sharesRoots =
    !options.ca && !options.crl && !options.pfx && !options.allowPartialTrustChain && more.length === 0;
  if (options.ca) for (const ca of arrayOf(options.ca)) set(CONTEXT.CA, ca, null, 1);
  else if (sharesRoots) native.shareRoots(context, sharedRoots(native));
  else for (const root of rootCertificates()) set(CONTEXT.CA, root);
  for (const ca of more) set(CONTEXT.CA, ca, null, 1);
  if (options.allowPartialTrustChain) set(CONTEXT.PARTIAL_CHAIN, '');
  if (options.cert) for (const cert of arrayOf(options.cert)) set(CONTEXT.CERTIFICATE, cert);
  if (options.key) setKeys(set, options);
  if (options.sigalgs != null) set(CONTEXT.SIGALGS, options.sigalgs);
  const groups = options.ecdhCurve ?? nodeTls.DEFAULT_ECDH_CURVE;
  if (groups !== 'auto') set(CONTEXT.GROUPS, groups);
  if (options.dhparam != null) set(CONTEXT.DH, options.dhparam, null, options.dhparam === 'auto' ? 1 : 0);
  if (options.crl != null) for (const crl of arrayOf(options.crl)) set(CONTEXT.CRL, crl);
  if (options.sessionIdContext != null) set(CONTEXT.SESSION_ID_CONTEXT, options.sessionIdContext);
  if (options.pfx != null) setPfx(set, options);
  if (options.sessionTimeout != null) set(CONTEXT.TIMEOUT, '', null, options.sessionTimeout);
  set(CONTEXT.TICKET_KEYS, secureContext.context.getTicketKeys());
  return context;
}

type Set = (setting: number, value: Bytes, passphrase?: Bytes | null, number?: number) => void;

function setKeys(set: Set, { key, passphrase }: ContextOptions): void {
  const isArray = Array.isArray(key);
  for (const each of arrayOf(key as Bytes | (Bytes | nodeTls.KeyObject)[])) {
    const own = isArray ? (each as Partial<nodeTls.KeyObject>) : undefined;
    set(CONTEXT.KEY, (own?.pem ?? each) as Bytes, own?.passphrase ?? passphrase);
  }
}

function setPfx(set: Set, { pfx, passphrase }: ContextOptions): void {
  for (const each of arrayOf(pfx as Bytes | (Bytes | nodeTls.PxfObject)[])) {
    const own = Array.isArray(pfx) ? (each as Partial<nodeTls.PxfObject>) : undefined;
    set(CONTEXT.PFX, (own?.buf || each) as Bytes, own?.passphrase || passphrase);
  }
}

/** New keys for the tickets of a server's context. */
export function setTicketKeys(native: TlsNative, of: object, keys: Uint8Array): void {
  const context = built.get(of);
  if (context === undefined) return; // it takes them over when it is made
  if (native.set(context, CONTEXT.TICKET_KEYS, terminated(keys), undefined, 0) !== 0)
    throw opensslError(native.failure());
}

/** TLS 1.3's cipher suites are set apart from the others, as Node does. */
function splitCiphers(list: string): { ciphers: string; suites: string } {
  const names = list.split(':').filter((name) => name !== '');
  const isSuite = (name: string): boolean => name.startsWith('TLS_') || name.startsWith('!TLS_');
  return {
    ciphers: names.filter((name) => !isSuite(name)).join(':'),
    suites: names.filter(isSuite).join(':'),
  };
}

function arrayOf<T>(value: T | T[]): T[] {
  return Array.isArray(value) ? value : [value];
}

/** Bytes with a zero behind them, in memory of their own. */
export function terminated(value: Bytes): Buffer {
  const bytes =
    typeof value === 'string' ? Buffer.from(value) : Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  const result = Buffer.alloc(bytes.length + 1);
  bytes.copy(result);
  if (typeof value === 'string') bytes.fill(0);
  return result;
}

// ---- the usual roots ----

let shared: { from: readonly string[]; context: NativeContext } | undefined;

function sharedRoots(native: TlsNative): NativeContext {
  const from = rootCertificates();
  if (shared?.from === from) return shared.context;
  const context = native.context(0x303, 0x304, 0);
  if (context === -1) throw opensslError(native.failure());
  for (const root of from) native.set(context, CONTEXT.CA, terminated(root), undefined, 0);
  shared = { from, context };
  return context;
}

let withExtra: readonly string[] | undefined;

/** Whom Node trusts when nothing is said; the same array until that changes. */
function rootCertificates(): readonly string[] {
  const { getCACertificates } = nodeTls as { getCACertificates?(type: 'default'): readonly string[] };
  if (getCACertificates !== undefined) return getCACertificates('default');
  const extra = process.env['NODE_EXTRA_CA_CERTS'];
  if (!extra) return nodeTls.rootCertificates;
  if (withExtra === undefined) {
    try {
      withExtra = [...nodeTls.rootCertificates, builtins.fs.readFileSync(extra, 'latin1')];
    } catch {
      withExtra = nodeTls.rootCertificates; // Node has warned of it at the start
    }
  }
  return withExtra;
}
