// node .build/bench/requests.js [--runs N] [--in-flight N]: what a request costs, and an item of a stream.
//
// One process is both sides of one connection on loopback, with JSON behind a prefix of four bytes; the schemas accept
// everything. Printed is the CPU time (user and system) of both sides together, the median of the runs.
import { parseArgs } from 'node:util';
import { lengthPrefixed } from 'millrace/framing';
import { call, defineContract, dial, respond, serve, unchecked } from 'millrace/session';

const REQUESTS = 40_000;
const ITEMS = 100_000;

const { values } = parseArgs({
  options: { runs: { type: 'string', default: '7' }, 'in-flight': { type: 'string', default: '200' } },
});
const runs = Number(values.runs);
const inFlight = Number(values['in-flight']);

const codec = lengthPrefixed({ lengthFieldLength: 4 }).json();
const contract = defineContract({
  add: { kind: 'request', input: unchecked<{ a: number; b: number }>(), output: unchecked<number>() },
  count: { kind: 'stream', input: unchecked<number>(), items: unchecked<number>() },
});
const server = await serve({ port: 0, host: '127.0.0.1', codec }, async (session) => {
  await respond(session, contract, {
    add: ({ a, b }) => a + b,
    async *count(most) {
      for (let n = 0; n < most; n++) yield n;
    },
  }).done;
});
const session = await dial({ port: server.port, host: '127.0.0.1', codec });
const api = call(session, contract);

/** Each returns how many there were. */
const cases: Record<string, () => Promise<number>> = {
  request: async () => {
    let made = 0;
    const caller = async (): Promise<void> => {
      while (made < REQUESTS) await api.add({ a: made++, b: 1 });
    };
    await Promise.all(Array.from({ length: inFlight }, caller));
    return made;
  },
  item: async () => {
    let count = 0;
    for await (const _ of api.count(ITEMS)) count += 1;
    return count;
  },
};

for (const [name, run] of Object.entries(cases)) {
  await run(); // warm
  const costs: number[] = [];
  for (let i = 0; i < runs; i++) {
    const before = process.cpuUsage();
    const count = await run();
    const { user, system } = process.cpuUsage(before);
    costs.push((user + system) / count);
  }
  const median = costs.sort((a, b) => a - b)[Math.floor(runs / 2)] ?? Number.NaN;
  console.log(`${name.padEnd(8)} ${median.toFixed(2)} µs`);
}
await session.close();
await server.close();
