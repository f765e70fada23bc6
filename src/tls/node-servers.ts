/** Node's own servers, which have the option `certificates` as well. */
import nodeTls from 'node:tls';
import type { TlsServerOptions } from './server.ts';
import { lookAfter, type Servers } from './server-certificates.ts';

type Arguments = [options?: TlsServerOptions, listener?: unknown];

const Server = new Proxy(nodeTls.Server, {
  construct(target, args: Arguments, newTarget) {
    const server = Reflect.construct(target, args, newTarget === Server ? target : newTarget);
    return begun(server, args);
  },
  /** As programs inherit that have no classes. */
  apply(target, self, args: Arguments) {
    if (!(self instanceof target)) return Reflect.construct(Server, args);
    Reflect.apply(target as never, self, args);
    return begun(self as nodeTls.Server, args);
  },
}) as Servers['Server'];

function begun(server: nodeTls.Server, [options]: Arguments): nodeTls.Server {
  if (options?.certificates !== undefined) lookAfter(server as never, options);
  return server;
}

export const nodeServers = {
  Server,
  createServer: (...args: Arguments) => Reflect.construct(Server, args),
};
