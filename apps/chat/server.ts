// The door: accepts connections into one room, refuses those over the limit with a sentence, counts what goes through,
// and closes within half a second whatever the clients do. What one connection does is in client.ts.
import { type AddressInfo, createServer, type Server, type Socket } from 'millrace';
import { Client, type Traffic } from './client.ts';
import type { Options } from './options.ts';
import { Room } from './room.ts';
import type { Sample } from './status.ts';

/** How long a client has to take its goodbye. */
const GOODBYE_MS = 500;
/** Idle connections whose other end is gone for good (a laptop asleep, a cable pulled) are found by the kernel after this. */
const KEEP_ALIVE_MS = 60_000;

export class ChatServer {
  readonly room = new Room();
  readonly #options: Pick<Options, 'maxConnections' | 'linesPerSecond'>;
  readonly #log: (line: string) => void;
  readonly #server: Server;
  readonly #clients = new Set<Client>();
  readonly #traffic: Traffic = { bytesIn: 0, bytesOut: 0 };

  constructor(options: Pick<Options, 'maxConnections' | 'linesPerSecond'>, log: (line: string) => void) {
    this.#options = options;
    this.#log = log;
    // allowHalfOpen: after the end of `printf 'ann\nhello\n' | nc` there is still a goodbye to send.
    this.#server = createServer(
      { allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS },
      (socket) => this.#accept(socket),
    );
    // The refused are connected too, as long as their sentence is on its way: they have a limit of their own.
    this.#server.maxConnections = options.maxConnections + 100;
  }

  /** Resolves to the port. @throws the error of listen(2), or of the name's look-up */
  listen(port: number, host: string): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ port, host, backlog: 1024 }, () => {
        // From here on an error is an accept that failed, for want of descriptors say: those who are in stay in.
        this.#server.off('error', reject).on('error', (error) => this.#log(`accept failed: ${error.message}`));
        resolve((this.#server.address() as AddressInfo).port);
      });
    });
  }

  /** What the status line shows. */
  sample(): Sample {
    return { connections: this.#clients.size, ...this.#traffic };
  }

  /** Stops accepting and says goodbye; whoever has not taken it within GOODBYE_MS is cut off. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      const patience = setTimeout(() => {
        for (const client of this.#clients) client.socket.destroy();
      }, GOODBYE_MS);
      this.#server.close(() => {
        clearTimeout(patience);
        resolve();
      });
      this.room.close();
      for (const client of this.#clients) client.part('The server is closing. Goodbye!');
    });
  }

  #accept(socket: Socket): void {
    if (this.#clients.size >= this.#options.maxConnections) {
      socket.on('error', () => {});
      socket.end(`* All ${this.#options.maxConnections} places are taken. Try again later.\n`);
      socket.destroySoon(); // as soon as the sentence is on its way
      return;
    }
    const client = new Client(socket, this.room, this.#options.linesPerSecond, this.#traffic, this.#log);
    this.#clients.add(client);
    socket.on('close', () => this.#clients.delete(client));
  }
}
