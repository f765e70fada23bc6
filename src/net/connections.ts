/**
 * `for await (const socket of server)`: the connections of a server as they come. Those that come while the loop's body
 * runs wait in `events.on`.
 *
 * @see https://nodejs.org/api/net.html#serversymbolasynciterator
 */
import { type EventEmitter, on } from 'node:events';

export function connectionsOf<S>(server: EventEmitter): AsyncIterableIterator<S, undefined, void> {
  const options = { close: ['close'] } as object; // documented since Node 22, there since 20
  const events = on(server, 'connection', options) as AsyncIterableIterator<[S], undefined, void>;
  const over = (): Promise<IteratorReturnResult<undefined>> => Promise.resolve({ done: true, value: undefined });
  return {
    async next() {
      const { done, value } = await events.next();
      return done === true ? { done, value: undefined } : { done: false, value: value[0] };
    },
    return: () => events.return?.().then(over) ?? over(),
    async throw(error) {
      await events.return?.();
      throw error;
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
