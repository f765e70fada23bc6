// Fan-out: a message arrives and goes to all connections, by 1 or by 10 writes to each in the same tick (as when ten events of a
// chat or a game meet). Cost is the server's CPU time per copy delivered; latency is that of a whole round.
import { columns, drive } from '../drive.ts';
import type { Bench, Case, Trial } from '../trial.ts';

export const fanOut: Case = {
  name: 'fan-out',
  trials: (bench) => [500, 5000].flatMap((count) => [1, 10].map((writes) => trial(bench, count, writes))),
};

function trial(bench: Bench, connections: number, writes: number): Trial {
  return {
    id: `fan-out-${connections}x${writes}`,
    title: `fan-out, 64 B to ${connections} sockets, ${writes} ${writes === 1 ? 'write' : 'writes'} to each in a tick`,
    parameters: { connections, writes, size: 64 },
    cost: { key: 'cpuUsPerOperation', head: 'CPU µs/copy', digits: 3 },
    columns: columns('copy'),
    kind: 'broadcast',
    isQuick: connections === 500 && writes === 10,
    overheadSeconds: 0.4 + connections / 5000,
    run: (rival, prepared) =>
      drive(bench, rival, prepared, {
        kind: 'broadcast',
        parameter: String(writes),
        mode: 'rounds',
        flags: { connections, size: 64, copies: writes },
        connections,
      }),
  };
}
