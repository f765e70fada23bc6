/**
 * `millrace/restart`: new code without refusing anyone. docs/restart.md shows how it is used.
 *
 * ```ts
 * import net from 'millrace';
 * import { restartable } from 'millrace/restart';
 *
 * const service = await restartable(); // first: what the process before listens on is known from here on
 * const server = net.createServer((socket) => socket.end('hello'));
 * server.listen(8080);
 * await service.ready(); // SIGHUP starts the next version
 * ```
 */
import type { RestartableOptions } from './options.ts';
import { Service } from './service.ts';

export type { Drained } from '../engine/serving.ts';
export { RestartError, type RestartErrorData, type RestartReason, restartReasons } from './errors.ts';
export { adopt, type HandOver, type OnConnection } from './hand-over.ts';
export type { RestartableOptions } from './options.ts';
export type { OnDrain, Service } from './service.ts';
export { notify, type ServiceState, type SystemdSocket, systemdSockets, watchdogMs } from './systemd.ts';

/**
 * Makes this process one that can be replaced by its next version. To be awaited before anything listens: if a process
 * before this one hands over, its listening sockets are taken in place of new ones.
 *
 * On engine `node` it works, and `restart()` is refused (`NOT_SUPPORTED`).
 *
 * @throws {RestartError} BAD_OPTION; MISUSE in a Worker; NOT_SUPPORTED, REFUSED, PROTOCOL, WRONG_USER, SILENT, PEER_LOST: the
 * process before does not hand over, goes on, and this one should exit
 */
export function restartable(options: RestartableOptions = {}): Promise<Service> {
  return Service.open(options);
}
