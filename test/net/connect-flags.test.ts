import assert from 'node:assert/strict';
import test from 'node:test';
import { run } from '../support/child.ts';
import { leakGuard, limit } from '../support/net.ts';

await leakGuard();

/** The program of each test: what the defaults are, and how many addresses a name's lookup is asked for. */
const program = `
const asked = await new Promise((resolve) => {
  net.connect({ port: 1, host: 'x', lookup: (host, options) => resolve(Boolean(options.all)) }).destroy();
});
const told = () => JSON.stringify([
  net.getDefaultAutoSelectFamily(), net.getDefaultAutoSelectFamilyAttemptTimeout(), asked,
]);
`;

/** The same in a thread that is started with these flags. */
const inThread = (flags: string[]): string => `
import { Worker } from 'node:worker_threads';
const source = \`
  Promise.all([import('node:worker_threads'), import('millrace')]).then(async ([{ parentPort }, { default: net }]) => {
    ${program}
    parentPort.postMessage(told());
  });
\`;
new Worker(source, { eval: true, execArgv: ${JSON.stringify(flags)} }).on('message', say);
`;

/** 250 ms, and 500 ms since Node 25. */
const usualMs = Number(process.versions.node.split('.')[0]) >= 25 ? 500 : 250;

const cases: [string, string[], unknown[]][] = [
  ['nothing', [], [true, usualMs, true]],
  ['--no-network-family-autoselection', ['--no-network-family-autoselection'], [false, usualMs, false]],
  [
    '--network-family-autoselection-attempt-timeout',
    ['--network-family-autoselection-attempt-timeout=777'],
    [true, 777, true],
  ],
  [
    'both',
    ['--no-network-family-autoselection', '--network-family-autoselection-attempt-timeout=50'],
    [false, 50, false],
  ],
];
for (const [name, flags, expected] of cases) {
  test(`the command line with ${name} sets the defaults`, limit, async (t) => {
    const child = run(t, `${program} say(told());`, { execArgv: flags });
    assert.deepEqual(JSON.parse(await child.line()), expected);
  });

  test(`NODE_OPTIONS with ${name} sets the defaults`, limit, async (t) => {
    const child = run(t, `${program} say(told());`, { env: { NODE_OPTIONS: flags.join(' ') } });
    assert.deepEqual(JSON.parse(await child.line()), expected);
  });

  test(`a thread whose execArgv has ${name} has its own defaults`, limit, async (t) => {
    const child = run(t, inThread(flags));
    assert.deepEqual(JSON.parse(await child.line()), expected);
  });
}

test(
  'a thread without flags has those of its process, and what is set in one is not set in another',
  limit,
  async (t) => {
    const child = run(
      t,
      `net.setDefaultAutoSelectFamilyAttemptTimeout(4321);
    ${inThread([]).replace('execArgv: []', '')}`,
      { execArgv: ['--no-network-family-autoselection', '--network-family-autoselection-attempt-timeout=777'] },
    );
    assert.deepEqual(JSON.parse(await child.line()), [false, 777, false]);
  },
);

test("the order of a name's addresses is that of dns.lookup", limit, async (t) => {
  const child = run(
    t,
    `import dns from 'node:dns';
    const { lookup } = dns;
    dns.lookup = (host, options, callback) => {
      dns.lookup = lookup;
      say(JSON.stringify([host, Object.keys(options).sort(), dns.getDefaultResultOrder()]));
      callback(null, [{ address: '127.0.0.3', family: 4 }, { address: '127.0.0.2', family: 4 }]);
    };
    const client = net.connect({ port: 1, host: 'mill.example' });
    client.on('error', () => say(client.autoSelectFamilyAttemptedAddresses.join()));`,
    { execArgv: ['--dns-result-order=ipv4first'] },
  );
  // Neither `order` nor `verbatim`: --dns-result-order and dns.setDefaultResultOrder decide.
  assert.deepEqual(JSON.parse(await child.line()), ['mill.example', ['all', 'family', 'hints'], 'ipv4first']);
  assert.equal(await child.line(), '127.0.0.3:1,127.0.0.2:1');
});
