/** A Worker in the middle of things: operations in flight, an accepted descriptor that nobody read, an unsent message. */
import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { AF, CONTROL } from '#src/engine/abi.ts';
import { Rig } from './rig.ts';

const rig = new Rig(workerData);
const { control } = rig.ring;

/** What the engine's slot table does: the native part closes these when no TypeScript runs any more. */
function adopt(fd: number): void {
  control[CONTROL.SLOT_FD + (control[CONTROL.SLOTS_USED] as number)] = fd + 1;
  (control[CONTROL.SLOTS_USED] as number)++;
}

const [listener, address] = rig.listen();
const [a, b] = await rig.tcpPair();
const late = rig.socket(AF.INET);
for (const fd of [listener, a, b, late]) adopt(fd);
rig.acceptMany('accept', listener);
rig.recvMany('a', a);
rig.recvMany('b', b);
await rig.rest();
rig.connect('late', late, address);
for (let i = 0; i < 10; i++) {
  rig.ring.enter();
  rig.ring.native.collect(rig.ring.id); // the accept completes, and is left unread
  await turnOfTheLoop();
}
rig.send('send', a, 'unsent');
parentPort?.postMessage('in the middle');
for (;;);
