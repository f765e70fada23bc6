// A redis client under test: 100 GETs at a time, which the package pipelines by itself.
import { engine, load, measure } from './packages.ts';

interface Client {
  connect(): Promise<unknown>;
  set(key: string, value: string): Promise<unknown>;
  get(key: string): Promise<string | null>;
  close(): Promise<void>;
}
const { createClient } = load<{ createClient(options: { url: string }): Client }>('redis');

const [port, warmup, seconds] = process.argv.slice(2);
const client = createClient({ url: `redis://127.0.0.1:${port}` });
await client.connect();
const value = 'x'.repeat(100);
const keys = Array.from({ length: 100 }, (_, i) => `key:${i}`);
await Promise.all(keys.map((key) => client.set(key, `${key}${value}`)));

async function round(): Promise<number> {
  const found = await Promise.all(keys.map((key) => client.get(key)));
  for (const [i, text] of found.entries()) if (text !== `${keys[i]}${value}`) throw new Error(`${engine}: wrong value`);
  return found.length;
}

await measure(round, Number(warmup), Number(seconds));
await client.close();
process.exit();
