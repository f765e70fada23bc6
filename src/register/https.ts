/**
 * `https` for programs. The module stays Node's, and so do its classes: whoever patches them, subclasses them or asks
 * `instanceof` finds what is always there. Two methods change, which all agents and servers inherit: agents connect by
 * millrace/tls, and a server is mounted when it listens, as is one of `http2.createSecureServer`.
 *
 * docs/decisions/0088-https-on-our-tls.md
 */
import http2 from 'node:http2';
import https from 'node:https';
import { syncBuiltinESMExports } from 'node:module';
import { connectingByOurs } from '../http/agent.ts';
import { mount } from '../http/index.ts';

export function putHttpsOnMillrace(): void {
  const { prototype } = https.Agent;
  define(prototype, 'createConnection', connectingByOurs(prototype.createConnection as never));
  define(https.Server.prototype, 'listen', function listen(this: https.Server, ...args: []): https.Server {
    return mount(this).listen(...args);
  });
  const { createSecureServer } = http2;
  define(http2, 'createSecureServer', function createSecureServer_(...args: Parameters<typeof createSecureServer>) {
    return mount(createSecureServer(...args));
  });
  syncBuiltinESMExports(); // for those who import it by name
}

function define(object: object, name: string, value: unknown): void {
  Object.defineProperty(value, 'name', { value: name, configurable: true });
  Object.defineProperty(object, name, { value, writable: true, enumerable: true, configurable: true });
}
