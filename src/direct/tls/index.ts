/**
 * TLS for the direct tier: loaded by the first `tls` option, and by nobody else. In: the option. Out: a `Security`, which puts
 * a secure link over each plain one.
 */
import { createHash } from 'node:crypto';
import { choice } from '../../engine/engine.ts';
import { createSecureContext, nativeContext, type SecureContext } from '../../tls/context.ts';
import { loadTlsNative, type NativeContext, type TlsNative } from '../../tls/native.ts';
import type { EngineLink } from '../engine-link.ts';
import { DirectError } from '../errors.ts';
import type { Link } from '../link.ts';
import type { NodeLink } from '../node-link.ts';
import type { SecuringLink, Security } from '../security.ts';
import type { TlsClientOptions, TlsContext, TlsServerOptions } from '../tls-api.ts';
import { NodeTlsLink } from './node-tls-link.ts';
import { OpensslLink } from './openssl-link.ts';
import { clientSettings, newContext, serverSettings, type TlsSettings } from './options.ts';

/** @throws {DirectError} BAD_OPTION; what `createSecureContext` throws */
export const serverSecurity = (options: TlsServerOptions): Security => new TlsSecurity(serverSettings(options));

/** @param host a name or an address @throws as `serverSecurity` */
export const clientSecurity = (options: true | TlsClientOptions, host: string): Security =>
  new TlsSecurity(clientSettings(options, host));

class TlsSecurity implements Security {
  readonly needsNode: boolean;
  readonly #settings: TlsSettings;
  readonly #native: TlsNative | null;
  #context: SecureContext;

  constructor(settings: TlsSettings) {
    const native = choice.turn === null ? '' : loadTlsNative();
    this.#settings = settings;
    this.#context = makeContext(settings.context, settings);
    const isOurs = typeof native !== 'string' && nativeContext(native, this.#context) !== undefined;
    this.#native = isOurs ? native : null;
    this.needsNode = !isOurs;
  }

  get onDemand(): boolean {
    return this.#settings.onDemand;
  }

  secure(link: Link): SecuringLink {
    const native = this.#native;
    if (native === null) return new NodeTlsLink(this.#context, link as NodeLink, this.#settings);
    // Asked for each connection: `addCACert` may have been called meanwhile.
    const context = nativeContext(native, this.#context) as NativeContext;
    return new OpensslLink(native, context, link as EngineLink, this.#settings);
  }

  setContext(options: TlsContext): void {
    const context = makeContext(newContext(options), this.#settings);
    if (this.#native !== null && nativeContext(this.#native, context) === undefined)
      throw new DirectError(
        'BAD_OPTION',
        'this context is only for the TLS of Node.js, and the server did not begin with that',
      );
    this.#context = context;
  }
}

/** SSL_OP_NO_TICKET, ssl.h */
const NO_TICKET = 0x4000;

function makeContext(options: TlsContext, { isServer, forbidsTickets }: TlsSettings): SecureContext {
  if (options.secureContext !== undefined) {
    if (forbidsTickets)
      throw new DirectError(
        'BAD_OPTION',
        'with SNICallback and requestCert: tls.key and tls.cert in place of a secureContext',
      );
    return options.secureContext as SecureContext;
  }
  const { secureOptions = 0, sessionIdContext = isServer ? programId() : undefined } = options;
  return createSecureContext({
    ...options,
    secureOptions: forbidsTickets ? secureOptions | NO_TICKET : secureOptions,
    ...(sessionIdContext === undefined ? {} : { sessionIdContext }),
  });
}

/** Sessions are good for processes of the same program, as in Node. OpenSSL resumes none with client certificates without it. */
const programId = (): string => createHash('sha256').update(process.argv.join(' ')).digest('hex').slice(0, 32);
