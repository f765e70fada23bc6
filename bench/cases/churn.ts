// Churn: connections that live for one message of 64 bytes (connect, echo, close): 50 at any time, and bursts of 5,000 connects at
// once. Cost is the server's CPU time per connection.
import { columns, drive } from '../drive.ts';
import type { Bench, Case, Trial } from '../trial.ts';

export const churn: Case = {
  name: 'churn',
  trials: (bench) => [
    trial(bench, 'churn-50', '50 at any time', { connections: 50 }, true),
    trial(bench, 'churn-burst-5000', 'bursts of 5,000', { burst: 5000 }, false),
  ],
};

function trial(bench: Bench, id: string, what: string, flags: Record<string, number>, isQuick: boolean): Trial {
  return {
    id,
    title: `churn, connect, one message, close, ${what}`,
    parameters: flags,
    cost: { key: 'cpuUsPerOperation', head: 'CPU µs/conn', digits: 1 },
    columns: columns('conn'),
    kind: 'echo',
    isQuick,
    overheadSeconds: 0.4,
    run: (rival, prepared) =>
      drive(bench, rival, prepared, {
        kind: 'echo',
        mode: 'churn',
        flags: { ...flags, size: 64 },
        connections: flags['burst'] ?? 50,
      }),
  };
}
