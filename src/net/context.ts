/**
 * Callbacks that run in the asynchronous context in which they were given: a write's, which is not its connection's.
 *
 * In: the callback of `write` or `end`, from socket.ts and handle.ts. Out: one that enters the context first.
 */
import { AsyncResource } from 'node:async_hooks';

type Callback = (error?: Error | null) => void;

/** The callback is called once, or never: nobody waits for its resource to be destroyed. */
const options = { requireManualDestroy: true };

/**
 * Node 20's own tls, over a stream that is not Node's: when a listener of the secure socket throws, tls still writes, while the
 * exception is on its way through its C++ code, and may lose it. With `AsyncResource.bind` in that write it isn't lost; this was
 * found by trying. Node 22 and later need no help.
 */
const needsBind = Number(process.versions.node.split('.')[0]) < 22;

/**
 * What `AsyncResource.bind` does, without the properties that it defines on each function: they cost 2 to 20 times as much.
 * @param type as async_hooks sees it; those of Node's own requests
 * @hot
 */
export function inContext(type: 'WRITEWRAP' | 'SHUTDOWNWRAP', callback: Callback): Callback {
  if (needsBind) return AsyncResource.bind(callback, type);
  const resource = new AsyncResource(type, options);
  return (error) => resource.runInAsyncScope(callback, undefined, error);
}
