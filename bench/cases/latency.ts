// Latency under a rate that everybody can bear (about a fifth of what node:net can do): messages leave by schedule, whatever has
// come back until then, and count from when they were due. So a stall is charged to all that had to wait: there is no
// coordinated omission. The load polls without sleeping, to be on time; that is why it is always busy here.
import { columns, drive } from '../drive.ts';
import type { Case } from '../trial.ts';

const rate = 20_000;
const connections = 50;

export const latency: Case = {
  name: 'latency',
  trials: (bench) => [
    {
      id: 'latency',
      title: `latency at ${rate.toLocaleString('en')} messages a second, 64 B, ${connections} connections, open loop`,
      parameters: { rate, connections, size: 64 },
      cost: { key: 'p99Us', head: 'p99 µs', digits: 0 },
      columns: [
        { head: 'p99.9 µs', cell: (median) => median('p999Us').toFixed(0) },
        { head: 'max µs', cell: (median) => median('maxUs').toFixed(0) },
        { head: 'CPU µs/msg', cell: (median) => median('cpuUsPerOperation').toFixed(2) },
        ...columns('msg').filter((column) => column.head !== 'p99 µs' && column.head !== 'saturated'),
      ],
      kind: 'echo',
      isQuick: true,
      overheadSeconds: 0.4,
      run: (rival, prepared) =>
        drive(bench, rival, prepared, {
          kind: 'echo',
          mode: 'echo',
          flags: { connections, size: 64, rate },
          connections,
        }),
    },
  ],
};
