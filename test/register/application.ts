/** Applications in a folder of their own, with millrace among their packages, run as a user would. */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { root } from '../support/child.ts';
import { once, type Stage } from '../support/net.ts';

export interface Result {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** The two ways to be registered. */
export const WAYS: readonly (readonly string[])[] = [
  ['--import', 'millrace/register'],
  ['-r', 'millrace/register'],
];

export class Application {
  readonly folder: string;

  /** @param files by path */
  constructor(t: Stage, files: Record<string, string>) {
    this.folder = mkdtempSync(join(tmpdir(), 'millrace-register-'));
    t.after(() => rmSync(this.folder, { recursive: true, force: true }));
    const all = { 'package.json': '{ "name": "application" }', ...files };
    for (const [path, text] of Object.entries(all)) {
      mkdirSync(dirname(join(this.folder, path)), { recursive: true });
      writeFileSync(join(this.folder, path), text);
    }
    mkdirSync(join(this.folder, 'node_modules'), { recursive: true });
    symlinkSync(root, join(this.folder, 'node_modules', 'millrace'));
  }

  /** `node ARGUMENTS` in this folder; killed with its test. */
  async node(t: Stage, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Result> {
    const { NODE_TEST_CONTEXT: _, NODE_OPTIONS: __, NODE_DEBUG: ___, ...inherited } = process.env;
    const child = spawn(process.execPath, args, { cwd: this.folder, env: { ...inherited, ...env } });
    t.after(() => void child.kill('SIGKILL'));
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const [status] = await once(child, 'close', 20_000);
    return { status, stdout, stderr };
  }
}
