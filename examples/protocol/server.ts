// Keeps files for its clients, in memory. What comes is checked by the contract before a handler sees it; what a handler throws as
// an RpcError is what its caller catches.
import { parseArgs } from 'node:util';
import { type Handlers, isGoodEnd, RpcError, requestsGoodbye, respond, serve } from 'millrace/session';
import { codec, store } from './protocol.ts';

const MAX_BYTES = 64 * 1024 * 1024;

const { values } = parseArgs({
  options: { port: { type: 'string', default: '4000' }, host: { type: 'string', default: '127.0.0.1' } },
});

const files = new Map<string, { revision: number; bytes: Uint8Array }>();
let storedBytes = 0;

const handlers: Handlers<typeof store> = {
  put({ name, bytes }) {
    const before = files.get(name);
    const total = storedBytes + bytes.length - (before?.bytes.length ?? 0);
    if (total > MAX_BYTES)
      throw new RpcError('FULL', 'there is no room for it', { data: { freeBytes: MAX_BYTES - storedBytes } });
    storedBytes = total;
    const revision = (before?.revision ?? 0) + 1;
    files.set(name, { revision, bytes });
    return { revision };
  },
  get({ name }) {
    const file = files.get(name);
    if (file === undefined) throw new RpcError('NOT_FOUND', `there is no file ${name}`);
    return file;
  },
  *list({ prefix }) {
    for (const [name, { bytes }] of files) if (name.startsWith(prefix)) yield { name, size: bytes.length };
  },
};

const server = await serve(
  {
    port: Number(values.port),
    host: values.host,
    codec,
    goodbye: requestsGoodbye,
    onClosed: ({ peer }, { reason, message }) => {
      if (!isGoodEnd(reason)) console.log(`${peer.address}:${peer.port}: ${message}`);
    },
  },
  (session) => respond(session, store, handlers).done,
).catch((error: Error) => {
  console.error(error.message);
  process.exit(1);
});
console.log(`listening on ${server.address}:${server.port}`);

const end = (): void => void server.drain({ deadlineMs: 5_000 });
process.once('SIGINT', end).once('SIGTERM', end);
