/** What the workers of restarting.ts run: it says its version. */
import net from 'millrace';
import { worker } from 'millrace/cluster';

const { version, path } = worker!.data as { version: number; path: string };
net.createServer((socket) => socket.on('error', () => {}).end(`${version}\n`)).listen(path);
