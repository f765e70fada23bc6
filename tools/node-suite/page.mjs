// Writes docs/compat.md: what was run, and what came out, from the records of tools/node-suite.mjs. What the page says
// besides comes from where it is kept: the intended differences from test/compat, the limits from the README, the packages
// from docs/compat-packages.md. Called by `node tools/node-suite.mjs --write docs/compat.md`.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const engines = ['io_uring', 'epoll', 'node'];

/** @param lists  what counts, by module; sets in `open` aren't promised to pass: each of their tests is listed */
export async function writePage({ path, records, lists }) {
  if (!existsSync(records)) throw new Error('nothing is recorded yet: run a suite first');
  const recorded = readdirSync(records)
    .filter((name) => name.endsWith('.json'))
    .map((name) => JSON.parse(readFileSync(join(records, name), 'utf8')))
    .sort((a, b) => order(a).localeCompare(order(b), 'en', { numeric: true }));
  const { intended } = await import(pathToFileURL(join('.build', 'test', 'compat', 'intended.js')).href);
  const parts = [head];
  for (const [module, list] of Object.entries(lists)) {
    const runs = recorded.filter((run) => (run.module ?? 'net') === module);
    parts.push(introductions[module], summary(runs, list), exceptions(runs, list), openSets(runs, list));
    parts.push(names(runs, list), leftOut(module, list));
  }
  parts.push(differences(intended), packages(), again);
  writeFileSync(
    path,
    `${parts
      .filter((part) => part !== '')
      .join('\n\n')
      .trim()}\n`,
  );
  console.log(`${path}: from ${recorded.length} recorded runs`);
}

/** Newest suite first, the control last. */
function order({ suite, engine }) {
  const line = 99 - Number(/\d+/.exec(suite)?.[0] ?? 0);
  return `${line} ${engines.indexOf(engine)}`;
}

const head = `# Compatibility, judged by Node's own tests

Node's test suite, with \`net\` replaced by millrace, and its tests of \`tls\`, with \`millrace/tls\` in its place: which tests were
run, and which of them pass. This page is written by \`tools/node-suite.mjs\` from the records of its runs; it says nothing that
was not run. The tests themselves are Node's and not part of this repository.

The engine \`node\` is the control: Node's own modules, with what millrace adds to them, handed to the tests in the same way. A test
that fails there fails because of the machine, or because the suite is older than the Node.js that ran it.

A test counts when it uses the module as documented, passes with Node's own on the machine that wrote the list, and fails with an
empty module in its place.`;

const introductions = {
  net: '# `net`',
  tls: `# \`tls\`

With \`millrace\` as \`net\` and \`millrace/tls\` as \`tls\`. Node's own \`https\` and \`http2\` keep Node's; in their tests, ours are the
peers. [tls.md](tls.md#what-is-different) says what is different on purpose. The Node.js of these runs had an \`openssl-cli\` beside it.`,
};

function summary(runs, list) {
  const rows = runs.map(
    ({ suite, node, engine, kernel, date }) => `| ${suite} | ${node} | ${engine} | Linux ${kernel} | ${date} |`,
  );
  const { open } = list;
  const promised = Object.keys(list.sets).filter((set) => !open.includes(set));
  const columns = runs.map(title);
  const cells = (set) => runs.map((run) => countOf(run, (entry) => entry.set === set));
  const total = runs.map((run) => countOf(run, (entry) => !open.includes(entry.set)));
  const row = (label, text, values) => `| ${label} | ${text} | ${values.join(' | ')} |`;
  return `## What was run

| suite | Node.js | engine | system | date |
|---|---|---|---|---|
${rows.join('\n')}

## Passed

Passed of run. A test that failed ran once more, alone.

| set | what | ${columns.join(' | ')} |
|---|---|${columns.map(() => '---|').join('')}
${[...promised, ...open].map((set) => row(set, list.about[set], cells(set))).join('\n')}
${row('**all that is promised**', `without ${open.join(', ')}`, total)}`;
}

const title = ({ suite, engine }) => `${suite} ${engine}`;

function countOf({ results }, isMeant) {
  const entries = Object.values(results).filter(isMeant);
  const passed = entries.filter(({ status }) => status === 'passed').length;
  return entries.length === 0 ? '–' : `${passed} of ${entries.length}`;
}

/** Of the sets that should pass: what did not, or only at the second attempt, beside the control of the same suite. */
function exceptions(runs, list) {
  const suites = [...new Set(runs.map(({ suite }) => suite))];
  const isPlain = (result) => result === undefined || (result.status === 'passed' && !result.note);
  const rows = [];
  for (const name of Object.keys(list.sets).flatMap((set) => (list.open.includes(set) ? [] : list.sets[set]))) {
    for (const suite of suites) {
      const results = engines.map(
        (engine) => runs.find((run) => run.suite === suite && run.engine === engine)?.results[name],
      );
      const odd = results.find((result) => !isPlain(result));
      if (!odd) continue;
      const columns = results.map((result) => result?.status ?? '–').join(' | ');
      rows.push(`| \`${name}\` | ${suite} | ${columns} | ${cell(odd.note ?? '')} |`);
    }
  }
  if (rows.length === 0) return '## Not passed\n\nNone.';
  return `## Not passed, or not at once

| test | suite | ${engines.join(' | ')} | what it said |
|---|---|---|---|---|---|
${rows.join('\n')}`;
}

function openSets(runs, list) {
  return list.open
    .filter((set) => list.sets[set].length > 0)
    .map((set) => {
      const ran = runs.filter(({ results }) => list.sets[set].some((name) => name in results));
      if (ran.length === 0) return `## ${set}: ${list.about[set]}\n\nNot run.`;
      const rows = list.sets[set].map((name) => {
        const results = ran.map((run) => ({ ...run.results[name], engine: run.engine }));
        const ours = results.find(({ engine, status }) => engine !== 'node' && status && status !== 'passed');
        const cells = results.map(({ status }) => status ?? '–').join(' | ');
        return `| \`${name}\` | ${cells} | ${cell(ours?.note ?? '')} |`;
      });
      return `## ${set}: ${list.about[set]}

| test | ${ran.map(title).join(' | ')} | what it said |
|---|${ran.map(() => '---|').join('')}---|
${rows.join('\n')}`;
    })
    .join('\n\n');
}

/** Text of a test for a table: paths and line breaks don't belong there. */
function cell(text) {
  return text
    .replaceAll('|', '\\|')
    .replace(/(?:file:\/)?(?<![\w:])\/[\w./+-]*\/(?=[\w.-]+)/g, '')
    .replace(/[<>]/g, (sign) => (sign === '<' ? '&lt;' : '&gt;'))
    .slice(0, 120);
}

function names(runs, list) {
  const ours = runs.filter(({ engine }) => engine !== 'node');
  const sections = Object.keys(list.sets)
    .filter((set) => !list.open.includes(set))
    .map((set) => {
      const passed = list.sets[set].filter((name) => {
        const results = ours.map(({ results }) => results[name]).filter(Boolean);
        return results.length > 0 && results.every(({ status }) => status === 'passed');
      });
      return `### ${set}: ${passed.length}\n\n${passed.map((name) => `\`${name.replace(/^parallel\//, '')}\``).join(' ')}`;
    });
  return `## Tests that pass in every run of ours\n\nThose without a folder are in \`parallel/\`.\n\n${sections.join('\n\n')}`;
}

function leftOut(module, list) {
  const byReason = new Map();
  for (const [name, reason] of Object.entries(list['left out'])) {
    byReason.set(reason, [...(byReason.get(reason) ?? []), `\`${name}\``]);
  }
  const rows = [...byReason].map(([reason, tests]) => `| ${cell(reason)} | ${tests.join(' ')} |`);
  const lines = Object.entries(list.except).flatMap(([line, tests]) =>
    Object.entries(tests).map(([name, reason]) => `| ${reason}, in the suite of Node ${line} | \`${name}\` |`),
  );
  return `## Tests that were left out, and why

They load \`${module}\`, and say nothing about a module that is not Node's own.

| why | tests |
|---|---|
${[...rows, ...lines].join('\n')}`;
}

function differences(intended) {
  const byReason = new Map();
  for (const [name, { before, why }] of Object.entries(intended)) {
    const reason = before ? `Before Node ${before}: ${why}` : `${why[0].toUpperCase()}${why.slice(1)}`;
    byReason.set(reason, [...(byReason.get(reason) ?? []), name]);
  }
  const rows = [...byReason].map(([reason, scenarios]) => `- ${reason} (${scenarios.join('; ')}).`);
  const limits = /## Honest limits\n\n([\s\S]*?)\n\n##/.exec(readFileSync('README.md', 'utf8'))?.[1] ?? '';
  return `## Intended differences

\`test/compat\` tells the same story to \`node:net\` and to millrace and compares what both saw. Where they differ on purpose:

${rows.join('\n')}

What else is not as with \`node:net\`, from the README:

${limits}`;
}

function packages() {
  const path = join('docs', 'compat-packages.md');
  const table = existsSync(path)
    ? readFileSync(path, 'utf8')
        .match(/^\|.*\|$/gm)
        ?.join('\n')
    : undefined;
  return `## Packages\n\n${table ?? 'None were run yet.'}`;
}

const again = `## Run it yourself

\`\`\`sh
NODE_SUITE=path/to/a/checkout/of/node node tools/node-suite.mjs --engine io_uring --node path/to/its/node
NODE_SUITE=path/to/a/checkout/of/node node tools/node-suite.mjs --module tls --engine io_uring --node path/to/its/node
node tools/node-suite.mjs --write docs/compat.md
\`\`\`

[CONTRIBUTING.md](../CONTRIBUTING.md) says how to get the tests.`;
