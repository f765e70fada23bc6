/**
 * Application processes: programs of apps/, which know nothing of millrace, started with `--import millrace/register`.
 * With the engine `node` they are started without it: the control, plain Node.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type Child, root, start } from '../../support/child.ts';
import { once, type Stage, within } from '../../support/net.ts';
import { serverPort } from './port.ts';

/** Options of every test here: a server may have to be made, started, killed and started again. */
export const limit = { timeout: 120_000 } as const;

/** How long an application may take for its next line, and altogether. */
const waits = { lineMs: 30_000, exitMs: 110_000 };

const isControl = process.env['MILLRACE_ENGINE'] === 'node';

/** Starts apps/NAME.mjs. Killed after the test. */
export function application(t: Stage, name: string, ...args: (string | number)[]): Child {
  const register = isControl ? [] : ['--import', 'millrace/register'];
  const path = join(root, 'test', 'packages', 'apps', `${name}.mjs`);
  return start(t, [process.execPath, '--no-warnings', ...register, path, ...args.map(String)], waits);
}

/** What can be killed and started again on the same port. */
interface Server {
  readonly port: number;
  start(): Promise<void>;
  kill(): Promise<void>;
}

/** A server that is itself one of apps/: it takes a port and says 'listening'. */
export class ApplicationServer implements Server {
  readonly port: number;
  readonly #t: Stage;
  readonly #name: string;
  readonly #args: string[];
  #app: Child | undefined;

  static async start(t: Stage, name: string, ...args: string[]): Promise<ApplicationServer> {
    const server = new ApplicationServer(t, name, await serverPort(), args);
    await server.start();
    return server;
  }

  private constructor(t: Stage, name: string, port: number, args: string[]) {
    this.#t = t;
    this.#name = name;
    this.#args = args;
    this.port = port;
  }

  async start(): Promise<void> {
    this.#app = application(this.#t, this.#name, this.port, ...this.#args);
    assert.equal(await this.#app.line(), 'listening');
  }

  async kill(): Promise<void> {
    const { process } = this.#app as Child;
    const gone = once(process, 'exit');
    process.kill('SIGKILL');
    await within(gone, 'the end of a killed process');
  }

  /** Tells the server to close, and asserts that it ends by itself and complained about nothing. */
  async close(): Promise<void> {
    const app = this.#app as Child;
    app.say('close');
    await ends(app);
  }
}

/**
 * The life of an application whose server is killed: it says 'connected' after its first conversation, `lost: ...` when the
 * package told it that the connection is gone, 'connected again' after a conversation with the new server, and then ends.
 */
export async function outlives(app: Child, server: Server, lost: RegExp): Promise<void> {
  assert.equal(await app.line(), 'connected');
  await server.kill();
  assert.match(await app.line(), lost);
  await server.start();
  assert.equal(await app.line(), 'connected again');
  await ends(app);
}

/** Asserts that an application ended by itself, without anything on its standard error. */
export async function ends(app: Child): Promise<void> {
  const { code, signal, stderr } = await app.exit;
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
}
