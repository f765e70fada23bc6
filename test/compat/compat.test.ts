/** Each scenario is told to node:net and to millrace: both must see the same. */
import assert from 'node:assert/strict';
import nodeNet from 'node:net';
import { describe, test } from 'node:test';
import { inspect } from 'node:util';
import net, { engine } from 'millrace';
import { leakGuard, type Net, once, portOf, type Stage, turns, within } from '../support/net.ts';
import { intended } from './intended.ts';
import { type Log, type Scenario, scenarios } from './scenarios.ts';
import './stream-scenarios.ts';
import './ending-scenarios.ts';

// node:net has its own first use: libuv keeps a descriptor in reserve.
await leakGuard(async () => {
  const server = nodeNet.createServer((socket) => socket.end()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  await once(nodeNet.connect(portOf(server), '127.0.0.1').resume(), 'close');
  server.close();
  await once(server, 'close');
});

function intention(name: string): string | undefined {
  const entry = intended[name];
  const line = Number(process.versions.node.split('.')[0]);
  return entry && line < (entry.before ?? Number.POSITIVE_INFINITY) ? entry.why : undefined;
}

type Trace = Record<string, string[]>;

/** A value as text that is the same in each run: ports and temporary folders have no numbers. */
function text(value: unknown): string {
  return (
    typeof value === 'string'
      ? value
      : inspect(value, { depth: 5, breakLength: Number.POSITIVE_INFINITY, sorted: true })
  )
    .replace(/((?:\d+\.){3}\d+):\d{4,5}/g, '$1:PORT')
    .replace(/\b(port|localPort|remotePort): \d{4,5}/g, '$1: PORT')
    .replace(/\/[\w/.-]*\/mr-\w+/g, 'FOLDER');
}

async function tell(scenario: Scenario, module: Net): Promise<Trace> {
  const trace: Trace = {};
  const log: Log = (actor, ...values) => {
    trace[actor] ??= [];
    trace[actor].push(
      values
        .map((value) =>
          typeof value === 'number' && value > 1024 && value < 65536 && value % 1024 !== 0 ? 'PORT' : text(value),
        )
        .join(' '),
    );
  };
  const afters: (() => void | Promise<void>)[] = [];
  const stage: Stage = { after: (fn) => void afters.push(fn) };
  try {
    await within(scenario.run(module, log, stage), 'the scenario');
    await turns(5);
    // What comes later is the tidying up.
    return structuredClone(trace);
  } finally {
    for (const fn of afters.reverse()) await fn();
  }
}

describe(`millrace on ${engine} is like node:net`, { concurrency: 8 }, () => {
  for (const scenario of scenarios) {
    test(scenario.name, { timeout: 10_000 }, async (t) => {
      const expected = await tell(scenario, nodeNet);
      const actual = await tell(scenario, net as Net);
      const reason = intention(scenario.name);
      if (reason === undefined) return assert.deepEqual(actual, expected);
      if (engine === 'node') return;
      assert.notDeepEqual(actual, expected, 'a difference that was intended is gone: take it out of the list');
      t.diagnostic(`intended difference: ${reason}`);
    });
  }
});

test('there are scenarios, and each has a name of its own', () => {
  assert.ok(scenarios.length >= 240);
  assert.equal(new Set(scenarios.map((scenario) => scenario.name)).size, scenarios.length);
});
