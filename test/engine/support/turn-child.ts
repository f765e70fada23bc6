/** What turn.test.ts runs in processes of its own: `node turn-child.js <case> <kind>`. */
import { writeSync } from 'node:fs';
import { SOCK } from '#src/engine/abi.ts';
import type { RingKind } from '#src/engine/ring.ts';
import { Turn } from '#src/engine/turn.ts';
import { Line } from './line.ts';
import { native } from './rig.ts';

const [, , name, kind] = process.argv as [string, string, string, RingKind];
const turn = Turn.open(native, kind) as Turn;
const say = (text: string): void => void writeSync(1, `${text}\n`);

const cases: Record<string, () => void> = {
  /** An open turn that nobody holds. */
  idle() {
    process.once('exit', () => say('exit'));
  },

  /** Two reasons to live; the timers by themselves are none. */
  held() {
    process.once('exit', () => say('exit'));
    turn.hold();
    turn.hold();
    setTimeout(() => {
      say('one is left');
      turn.release();
      setTimeout(() => {
        say('none is left');
        turn.release();
      }, 10).unref();
    }, 10).unref();
  },

  /** Gathered when no turn comes any more; what arrived is read by hand. */
  end() {
    const [mine, peer] = native.socketPair(SOCK.STREAM) as [number, number];
    const line = new Line(turn, mine, true);
    const other = new Line(turn, peer, true);
    line.onFlush = () => line.send('gathered');
    turn.flushLater(line);
    process.once('exit', () => {
      turn.end();
      say(`asked ${line.isSending}, unsubmitted ${turn.ring.unsubmitted}`);
      other.readStart();
      turn.flush();
      native.collect(turn.ring.id);
      turn.drain();
      say(`${other.received}`);
    });
    process.exit();
  },
};
cases[name]?.();
