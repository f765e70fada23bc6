/**
 * TLS for the direct tier: loaded by the first `tls` option, and by nobody else. In: the option. Out: a `Security`, which puts
 * a secure link over each plain one.
 */
import { createHash } from 'node:crypto';
import { choice } from '../../engine/engine.ts';
import { contextOptions } from '../../tls/certificate-material.ts';
import { contextWith, type HeldCertificates, holdCertificates } from '../../tls/certificate-option.ts';
import type { Certificates, ServedCertificate } from '../../tls/certificates.ts';
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

/** @throws {DirectError} BAD_OPTION; {TlsError}; what `createSecureContext` throws */
export const serverSecurity = (options: TlsServerOptions): Security => new TlsSecurity(serverSettings(options));

/** @param host a name or an address @throws as `serverSecurity` */
export const clientSecurity = (options: true | TlsClientOptions, host: string): Security =>
  new TlsSecurity(clientSettings(options, host));

class TlsSecurity implements Security {
  readonly #settings: TlsSettings;
  #native: TlsNative | null;
  #context: SecureContext | undefined;
  #held: HeldCertificates | undefined;
  #detach: (() => void) | undefined;

  constructor(settings: TlsSettings) {
    const native = choice.turn === null ? '' : loadTlsNative();
    this.#settings = settings;
    this.#native = typeof native === 'string' ? null : native;
    if (settings.certificates === undefined) {
      this.#prepare(settings.context)();
      return;
    }
    this.#held = holdCertificates(settings.certificates);
    try {
      this.#useCertificates(this.#held.certificates);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** A server changes with them; a client is one attempt, with what is current. */
  #useCertificates(certificates: Certificates): void {
    const { isServer, context: others } = this.#settings;
    if (isServer) {
      this.#detach = certificates.attach((material) =>
        this.#prepare(contextWith(others, material, this.#context?.context.getTicketKeys())),
      );
    } else {
      const hasOthers = Object.keys(others).length > 0;
      const { material, secureContext } = certificates;
      this.#prepare(hasOthers ? { ...others, ...contextOptions(material) } : { secureContext })();
    }
  }

  /** @returns has handshakes from now on use it */
  #prepare(options: TlsContext): () => void {
    const context = makeContext(options, this.#settings);
    if (this.#native !== null && nativeContext(this.#native, context) === undefined) {
      if (this.#context !== undefined)
        throw new DirectError(
          'BAD_OPTION',
          'this context is only for the TLS of Node.js, and the server did not begin with that',
        );
      this.#native = null;
    }
    return () => {
      this.#context = context;
    };
  }

  get needsNode(): boolean {
    return this.#native === null;
  }

  get onDemand(): boolean {
    return this.#settings.onDemand;
  }

  get certificate(): ServedCertificate | undefined {
    return this.#held?.certificates.current;
  }

  secure(link: Link): SecuringLink {
    const native = this.#native;
    const secureContext = this.#context as SecureContext;
    if (native === null) return new NodeTlsLink(secureContext, link as NodeLink, this.#settings);
    // Asked for each connection: `addCACert` may have been called meanwhile.
    const context = nativeContext(native, secureContext) as NativeContext;
    return new OpensslLink(native, context, link as EngineLink, this.#settings);
  }

  setContext(options: TlsContext): void {
    this.#prepare(newContext(options))();
  }

  close(): void {
    this.#detach?.();
    this.#detach = undefined;
    if (this.#held?.isOwn) this.#held.certificates.close();
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
