/** What ring-wake.test.ts runs in processes of its own: `node ring-child.js <case> <kind>`. */
import { closeSync, openSync } from 'node:fs';
import { AF } from '#src/engine/abi.ts';
import type { RingKind } from '#src/engine/ring.ts';
import { native, Rig } from './rig.ts';

const [, , name, kind] = process.argv as [string, string, string, RingKind];
const rig = new Rig(kind);

/** An operation is in flight, and nobody asked the ring to keep the loop alive. */
async function idle(): Promise<void> {
  const [listener] = rig.listen();
  rig.acceptMany('accept', listener);
  await rig.rest();
  process.once('exit', () => console.log('idle, and over'));
}

/** The ring alone keeps the loop alive, until it is released. */
async function held(): Promise<void> {
  native.ref(rig.ring.id, true);
  setTimeout(() => {
    console.log('still here');
    native.ref(rig.ring.id, false);
  }, 50).unref();
  process.once('exit', () => console.log('over'));
}

/** Accepts while the process has no descriptor left; `ulimit -n` was lowered before. */
async function emfile(): Promise<void> {
  const [listener, address] = rig.listen();
  const clients = [rig.socket(AF.INET), rig.socket(AF.INET)];
  rig.acceptMany('accept', listener);
  const said = [await rig.rest()];
  const files: number[] = [];
  try {
    for (;;) files.push(openSync('/dev/null', 'r'));
  } catch (error) {
    said.push([(error as NodeJS.ErrnoException).code as string]);
  }
  for (const client of clients) rig.connect('connect', client, address);
  said.push(await rig.takeUnordered(3));
  rig.acceptMany('accept', listener);
  said.push(await rig.take(1), await rig.rest());
  for (const file of files.splice(0, 8)) closeSync(file);
  rig.acceptMany('accept', listener);
  said.push(await rig.take(2));
  console.log(JSON.stringify(said));
  rig.end();
}

const cases: Record<string, () => Promise<void>> = { idle, held, emfile };
await cases[name]?.();
