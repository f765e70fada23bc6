// Small writes: a request on one connection is answered by 100 writes of 32 bytes in one tick, as they are and within cork().
// Cost is the server's CPU time per write.
import { columns, drive } from '../drive.ts';
import type { Kind } from '../rivals.ts';
import type { Bench, Case, Trial } from '../trial.ts';

export const smallWrites: Case = {
  name: 'small-writes',
  trials: (bench) => [trial(bench, 'broadcast', ''), trial(bench, 'broadcast-corked', '-corked')],
};

function trial(bench: Bench, kind: Kind, suffix: string): Trial {
  return {
    id: `small-writes${suffix}`,
    title: `small writes, 100 of 32 B in a tick to one socket${suffix === '' ? '' : ', corked'}`,
    parameters: { writes: 100, size: 32 },
    cost: { key: 'cpuUsPerOperation', head: 'CPU µs/write', digits: 4 },
    columns: columns('write'),
    kind,
    isQuick: true,
    overheadSeconds: 0.4,
    run: (rival, prepared) =>
      drive(bench, rival, prepared, {
        kind,
        parameter: '100',
        mode: 'rounds',
        flags: { connections: 1, size: 32, copies: 100 },
        connections: 1,
      }),
  };
}
