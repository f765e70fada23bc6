/** Ports for servers that are killed and come back. */
import { randomInt } from 'node:crypto';
import net from 'node:net';

/**
 * A port on which nothing listened a moment ago, below those that the kernel gives to clients (ip_local_port_range of ip(7)
 * begins with 32768): while the server is dead, no client's connection may be given its port.
 */
export async function serverPort(): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 32_768);
    if (await isFree(port)) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
