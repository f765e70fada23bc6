/**
 * `process.getActiveResourcesInfo()` with what is open on the engine, by the names that Node's own sockets have there: it
 * is how programs and tools find out what keeps a process alive. Node lists handles of libuv, and the engine has but
 * one for all sockets.
 *
 * @see https://nodejs.org/api/process.html#processgetactiveresourcesinfo
 */
import { Connection } from '../engine/connection.ts';
import { endpoints } from '../engine/engine.ts';
import { Listener } from '../engine/listener.ts';

/** What Node calls it, or undefined if it does not keep the process alive. */
function nameOf(endpoint: unknown): string | undefined {
  if (!(endpoint instanceof Connection || endpoint instanceof Listener) || !endpoint.isActive) return undefined;
  if (endpoint.isUnix) return 'PipeWrap';
  return endpoint instanceof Listener ? 'TCPServerWrap' : 'TCPSocketWrap';
}

/** Adds this thread's connections and listeners to what the process tells of itself. */
export function listActiveResources(): void {
  const { getActiveResourcesInfo } = process;
  process.getActiveResourcesInfo = () => {
    const own = endpoints().map(nameOf);
    return [...getActiveResourcesInfo(), ...own.filter((name) => name !== undefined)];
  };
}
