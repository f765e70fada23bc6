/** `run`: in the primary it starts a group, in a worker it sets the worker up. */
import { misuse } from './errors.ts';
import type { Group } from './group.ts';
import type { GroupOptions } from './options.ts';
import { type ThisWorker, worker } from './worker.ts';

/** Of this worker, when it was started for a `setup`. */
let awaited: ((setup: GroupOptions['setup']) => void) | undefined;
let hasSetup = false;

/**
 * Starts workers that share what they listen on. Resolves when all are ready: their module is evaluated, or their `setup`
 * has resolved, and what they began to listen on is listened on.
 *
 * In a worker that was started for `setup`, it calls that and never returns.
 *
 * @throws {ClusterError} BAD_OPTION, MISUSE, ENGINE_NODE
 * @throws what the first worker that fails fails with: EADDRINUSE, say, or START_TIMEOUT. Nothing is left then: a group
 * that can't start at all is for whoever started the program to try again
 */
export async function run(options: GroupOptions): Promise<Group> {
  if (worker !== undefined) return inWorker(options);
  // Workers need nothing of this, and there are many of them.
  const [{ rulesOf }, { Group }] = await Promise.all([import('./options.ts'), import('./group.ts')]);
  const rules = rulesOf(options);
  if (rules.hasSetup) {
    if (hasSetup) throw misuse('one group with setup in a process: give the other an entry');
    hasSetup = true;
  }
  const group = new Group(rules, options);
  try {
    rules.onStart(group.messages);
  } catch (error) {
    await group.close();
    throw error;
  }
  await group.start();
  return group;
}

function inWorker(options: GroupOptions): Promise<never> {
  if (awaited === undefined) throw misuse('a worker has no group of its own');
  const give = awaited;
  awaited = undefined;
  give(options?.setup);
  return new Promise(() => {});
}

/** Waits until the program calls `run`, and then for its `setup`. @internal */
export async function setupInWorker(self: ThisWorker, program: () => Promise<unknown>): Promise<void> {
  let isSetUp = false;
  await new Promise<void>((resolve, reject) => {
    awaited = (setup) => {
      if (typeof setup === 'function') (async () => setup(self))().then(resolve, reject);
      else reject(misuse('the program gives run() a setup in the primary, and none in a worker'));
    };
    program().catch((error: unknown) => {
      if (isSetUp) throw error; // nobody waits for it any more: an 'unhandledRejection'
      reject(error as Error);
    });
  });
  isSetUp = true;
}
