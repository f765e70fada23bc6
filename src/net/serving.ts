/**
 * A server of Node's kind in the list of those that listen: how its connections are counted, and how it is drained. It
 * enters when it begins to listen, and leaves when it emits 'close'.
 */
import type { EventEmitter } from 'node:events';
import { enter, leave, type Serving } from '../engine/serving.ts';

/** The part of a server that is needed here: ours, those of Node's that are mounted on ours, and those of engine `node`. */
interface Drainable extends EventEmitter {
  close(): unknown;
}

export class ServingServer implements Serving {
  readonly #server: Drainable;
  readonly #sockets: ReadonlySet<{ destroy(): unknown }>;
  /** Ends accepting; calls back when nobody is on the way any more. */
  readonly #stop: (callback: () => void) => void;
  #drained: Promise<number> | undefined;

  constructor(server: Drainable, sockets: ReadonlySet<{ destroy(): unknown }>, stop: (callback: () => void) => void) {
    this.#server = server;
    this.#sockets = sockets;
    this.#stop = stop;
    enter(this);
  }

  get connectionCount(): number {
    return this.#sockets.size;
  }

  drain(deadlineMs: number): Promise<number> {
    this.#drained ??= new Promise((resolve) => {
      let cut = 0;
      const timer = setTimeout(() => {
        for (const socket of this.#sockets) {
          cut++;
          socket.destroy();
        }
      }, deadlineMs);
      this.#server.once('close', () => {
        clearTimeout(timer);
        resolve(cut);
      });
      this.#stop(() => this.#server.close());
    });
    return this.#drained;
  }

  /** The server is closed. */
  leave(): void {
    leave(this);
  }
}
