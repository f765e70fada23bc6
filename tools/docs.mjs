// node tools/docs.mjs [FILE...]: compiles the ```ts blocks of the documentation against the types in dist.
// Each block is a module of its own; one that cannot stand alone is marked ```ts ignore.
// Errors name the Markdown file and its line: a block is padded so that its lines keep their numbers.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** The ```ts blocks of a Markdown text: the number of the first line of code (from 1), and the code. */
export function blocksOf(markdown) {
  const pattern = /^( *)```(?:ts|typescript)( .*)?\n([\s\S]*?)^ *```$/gm;
  return [...markdown.matchAll(pattern)]
    .filter(([, , flags = '']) => !flags.split(' ').includes('ignore'))
    .map((match) => ({ line: markdown.slice(0, match.index).split('\n').length + 1, code: match[3] }));
}

/** Compiles the blocks of the files and returns how many there were, and the errors as lines `file:line:column: text`. */
export function check(files) {
  const folder = join(root, '.build', `docs-${process.pid}`);
  mkdirSync(folder, { recursive: true });
  try {
    const sources = new Map();
    for (const file of files) {
      for (const { line, code } of blocksOf(readFileSync(resolve(root, file), 'utf8'))) {
        const name = `${sources.size}.ts`;
        sources.set(name, file);
        // The export makes a module of a block without imports; it stands on the line before the code.
        writeFileSync(join(folder, name), `${'\n'.repeat(line - 2)}export {};\n${code}`);
      }
    }
    return { blocks: sources.size, errors: sources.size === 0 ? [] : compile(folder, sources) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function compile(folder, sources) {
  const compilerOptions = { rootDir: '.', noEmit: true, noUnusedLocals: false, noUnusedParameters: false };
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({ extends: '../../tsconfig.json', compilerOptions, include: ['*.ts'] }),
  );
  const typescript = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const { status, stdout } = spawnSync(process.execPath, [typescript, '-p', folder, '--pretty', 'false'], {
    encoding: 'utf8',
    cwd: folder,
  });
  if (status === 0) return [];
  return stdout
    .trim()
    .split('\n')
    .map((line) =>
      line.replace(/^(\d+\.ts)\((\d+),(\d+)\)/, (_, name, row, column) => `${sources.get(name)}:${row}:${column}`),
    );
}

/** README.md and its like, docs and the READMEs of folders. */
function documentation() {
  const within = (folder, pattern) =>
    existsSync(folder)
      ? readdirSync(folder, { recursive: true })
          .map((name) => join(folder, String(name)))
          .filter((path) => pattern.test(path))
      : [];
  return [
    ...readdirSync('.').filter((name) => name.endsWith('.md')),
    ...within('docs', /\.md$/),
    ...['src', 'apps', 'examples', 'bench'].flatMap((folder) => within(folder, /README\.md$/)),
  ];
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.chdir(root);
  const { blocks, errors } = check(process.argv.length > 2 ? process.argv.slice(2) : documentation());
  for (const error of errors) console.error(error);
  console.log(`${blocks} code blocks compiled`);
  process.exitCode = errors.length === 0 ? 0 : 1;
}
