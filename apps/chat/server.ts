// The door: sessions into one room, a sentence for those over the limit, and an orderly end within half a second, whatever the
// clients do. What one connection does is in client.ts.
import { type FramingError, lines } from 'millrace/framing';
import { isGoodEnd, type Session, type SessionServer, serve } from 'millrace/session';
import { Client } from './client.ts';
import type { Options } from './options.ts';
import { Room } from './room.ts';
import type { Sample } from './status.ts';

/** In both directions: what the chat says may be longer than what clients may, /who for one. */
const MAX_FRAME_BYTES = 16 * 1024;
const MAX_UNSENT_BYTES = 1024 * 1024;
/** How long a client has to take its goodbye, when the chat closes and when it leaves. */
const GOODBYE_MS = 500;
const LINGER_MS = 1_000;
/** The refused are connected too, as long as their sentence is on its way. */
const MAX_REFUSED = 100;

export class ChatServer {
  readonly #room = new Room();
  readonly #options: Options;
  readonly #log: (line: string) => void;
  readonly #clients = new Map<Session<string>, Client>();
  #server: SessionServer<string> | undefined;

  constructor(options: Options, log: (line: string) => void) {
    this.#options = options;
    this.#log = log;
  }

  /** Resolves to the port. @throws the error of listen(2), or of the name's look-up */
  async listen(): Promise<number> {
    const { port, host, maxConnections } = this.#options;
    const connections = maxConnections + MAX_REFUSED;
    this.#server = await serve(
      {
        port,
        host,
        backlog: 1024,
        codec: lines({ maxFrameBytes: MAX_FRAME_BYTES, onTooLarge: 'skip' }).utf8(),
        limits: {
          // A quiet listener is welcome for as long as its machine is there, which TCP keeps asking.
          ...{ firstByteMs: 0, handshakeMs: 0, idleMs: 0 },
          ...{ connections, perAddress: connections, perNetwork: connections },
          writeBuffer: { maxBytes: MAX_UNSENT_BYTES },
          lingerMs: LINGER_MS,
        },
        onBadMessage: (error, session) => this.#clients.get(session)?.onBadLine(error as FramingError),
        onClosed: (session, reason) => {
          const client = this.#clients.get(session);
          const name = client?.name === undefined ? '' : ` (${client.name})`;
          if (!isGoodEnd(reason.reason)) this.#log(`${peerOf(session)}${name}: ${reason.message}`);
          this.#clients.delete(session);
          client?.onClosed(reason);
        },
        onError: (error, session) => this.#log(`${session ? peerOf(session) : 'accept failed'}: ${error}`),
      },
      (session) => this.#welcome(session),
    );
    return this.#server.port!;
  }

  /** What the status line shows. */
  sample(): Sample {
    const metrics = this.#server?.metrics();
    return {
      connections: this.#clients.size,
      bytesIn: metrics?.bytesRead ?? 0,
      bytesOut: metrics?.bytesWritten ?? 0,
    };
  }

  /** Stops accepting and says goodbye; whoever has not taken it within GOODBYE_MS is cut off. */
  async close(): Promise<void> {
    this.#room.close();
    await this.#server?.drain({ goodbye: '* The server is closing. Goodbye!', graceMs: 0, deadlineMs: GOODBYE_MS });
  }

  async #welcome(session: Session<string>): Promise<void> {
    const { maxConnections, linesPerSecond } = this.#options;
    if (this.#clients.size >= maxConnections) {
      session.trySend(`* All ${maxConnections} places are taken. Try again later.`);
      return;
    }
    const client = new Client(session, this.#room, linesPerSecond);
    this.#clients.set(session, client);
    await client.talk();
  }
}

function peerOf({ peer }: Session<string>): string {
  return `${peer.address}:${peer.port}`;
}
