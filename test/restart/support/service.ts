/**
 * A program that can be restarted: it answers each line with its version, and does what its configuration says. The
 * configuration is a file, so that the next version can do something else.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { createServer as createNodeServer, type Server, type Socket } from 'node:net';
import net from 'millrace';
import { adopt, type RestartableOptions, RestartError, restartable, type Service } from 'millrace/restart';

export interface Config {
  version: string;
  /** 0, or the port that the first version got. */
  port: number;
  /** Listens on this, too. */
  unixPath?: string;
  /** What becomes of this version. */
  fate?: 'throws' | 'exits' | 'hangs' | 'silent' | 'late rejection';
  options?: RestartableOptions;
  /** Established connections are handed over. */
  handsOver?: boolean;
}

const config = JSON.parse(readFileSync(process.argv[2] as string, 'utf8')) as Config;
const say = (text: string): void => void process.stdout.write(`${config.version} ${text}\n`);
const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? String(error);
const open = new Map<Socket, { count: number; rest: string }>();
let service: Service;

function serve(socket: Socket): void {
  const state = open.get(socket) ?? { count: 0, rest: '' };
  open.set(socket, state);
  socket.on('error', () => {});
  socket.on('close', () => open.delete(socket));
  socket.setNoDelay(true);
  socket.on('data', (chunk: Buffer) => {
    const lines = (state.rest + chunk.toString('latin1')).split('\n');
    state.rest = lines.pop() as string;
    for (const line of lines) void answer(socket, line, ++state.count);
  });
}

async function answer(socket: Socket, line: string, count: number): Promise<void> {
  let text = `${config.version} ${count} ${line}`;
  if (line === 'pid') text = String(process.pid);
  if (line === 'fds') text = String(readdirSync('/proc/self/fd').length);
  if (line === 'stop') socket.pause();
  if (line === 'restart')
    text = await service.restart().then(
      () => 'done',
      (error) => `${codeOf(error)} ${error.message}`,
    );
  socket.write(`${text}\n`);
}

if (config.fate === 'silent') {
  createNodeServer().listen(0); // knows nothing of restarts, and does not end
} else {
  service = await restartable({
    onError: (error) => say(`error ${codeOf(error)}`),
    onDrained: ({ closed, cut }) => say(`drained ${closed} ${cut}`),
    ...(config.handsOver
      ? {
          onHandOver: async (next) => {
            await Promise.all([...open].map(([socket, state]) => next.send(socket, state)));
          },
        }
      : {}),
    ...config.options,
  }).catch((error: unknown) => {
    say(`refused ${codeOf(error)}`);
    process.exit(3);
  });
  if (config.fate === 'throws') throw new RestartError('MISUSE', 'a bad day');
  if (config.fate === 'exits') process.exit(7);
  const server = net.createServer(serve as never) as unknown as Server;
  service.onConnection((socket, data) => {
    open.set(socket, data as { count: number; rest: string });
    adopt(server, socket);
    socket.resume();
  });
  server.listen({ port: config.port, host: '127.0.0.1' });
  if (config.unixPath !== undefined) (net.createServer(serve as never) as unknown as Server).listen(config.unixPath);
  if (config.fate === 'late rejection') await Promise.reject(new Error('no database'));
  if (config.fate === 'hangs') {
    say('hangs');
    setInterval(() => {}, 1000);
  } else
    await service.ready().then(
      () => {
        const { port } = server.address() as { port: number };
        say(`ready ${port} ${process.pid}`);
      },
      (error) => {
        say(`refused ${codeOf(error)}`);
        process.exit(4);
      },
    );
}
