// node tools/start.mjs PROGRAM [ARGUMENTS]: sets the checkout up, then becomes the compiled program.
// In the same process, and npm's shell gives way to it (`exec` in package.json): a signal from the terminal or from npm
// reaches the program itself, and its exit code is npm's. Where the shell has no exec (Windows), run this file with node.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { setup } from './setup.mjs';

const [program = '', ...programArguments] = process.argv.slice(2);
setup({ quiet: true });
const path = join(process.cwd(), '.build', program);
if (!existsSync(path)) {
  console.error(`start: there is no program ${program}`);
  process.exit(1);
}
process.argv.splice(1, process.argv.length, path, ...programArguments);
await import(pathToFileURL(path).href);
