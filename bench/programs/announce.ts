// A server under test listens, says so as servers/server.ts does, and answers each line on stdin until stdin closes.
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { engine } from './packages.ts';

export async function announce(server: Server): Promise<never> {
  let errors = 0;
  server.on('clientError', () => errors++);
  await new Promise<void>((resolve) => {
    server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, resolve);
  });
  const { port } = server.address() as AddressInfo;
  console.log(JSON.stringify({ port, pid: process.pid, engine }));
  for await (const _ of createInterface({ input: process.stdin })) console.log(JSON.stringify({ errors }));
  process.exit();
}
