// The command line of the file store. `api` has a function for each method of the contract; calls under way at the same time share
// the connection, and each gets its own answer, whatever the order.
//
//   client.js put NAME FILE     client.js get NAME     client.js list [PREFIX]     client.js load COUNT
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { type Api, call, dial } from 'millrace/session';
import { codec, store } from './protocol.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { port: { type: 'string', default: '4000' }, host: { type: 'string', default: '127.0.0.1' } },
});
const [command, name = '', file = ''] = positionals;

try {
  const session = await dial({ port: Number(values.port), host: values.host, codec });
  try {
    await run(call(session, store));
  } finally {
    await session.close(); // an open session keeps the process alive
  }
} catch (error) {
  const { code, message } = error as NodeJS.ErrnoException;
  console.error(`${message} (${code})`);
  process.exitCode = 1;
}

async function run(api: Api<typeof store>): Promise<void> {
  if (command === 'put') console.log('revision', (await api.put({ name, bytes: await readFile(file) })).revision);
  else if (command === 'get') process.stdout.write((await api.get({ name })).bytes);
  else if (command === 'list') for await (const item of api.list({ prefix: name })) console.log(item.size, item.name);
  else if (command === 'load') await load(api, Number(name));
  else console.error('put NAME FILE, get NAME, list [PREFIX] or load COUNT');
}

/** So many files, put and got back, all at once; 256 calls at a time are under way (`maxRequests`). */
async function load(api: Api<typeof store>, count: number): Promise<void> {
  const start = performance.now();
  const isBack = async (name: string): Promise<boolean> => {
    await api.put({ name, bytes: Buffer.from(name) });
    return Buffer.from(name).equals((await api.get({ name })).bytes);
  };
  const back = await Promise.all(Array.from({ length: count }, (_, i) => isBack(`load-${i}`)));
  const perSecond = Math.round((2_000 * count) / (performance.now() - start));
  console.log(`${back.filter(Boolean).length} of ${count} files came back, ${perSecond} calls a second`);
}
