// The measured server in the API of millrace/direct: see server.ts for what every server does.
//
//   node direct.js KIND [PARAMETER]       echo, broadcast W, source B, sink
import process from 'node:process';
import { engine } from 'millrace';
import { type Connection, type Handlers, listen } from 'millrace/direct';
import { announce, answerUntilEnd, block } from './answers.ts';

const [kind = '', parameter = ''] = process.argv.slice(2);
let errors = 0;

interface Progress {
  left: number;
  count: number;
}

function pump(c: Connection<Progress>): void {
  const { data } = c;
  while (data.left > 0) {
    const piece = data.left < block.length ? block.subarray(0, data.left) : block;
    data.left -= piece.length;
    if (c.write(piece) !== 'sent') return;
  }
  c.end();
}

const kinds: Record<string, Handlers<Progress>> = {
  echo: {
    data(c, view) {
      c.write(view);
    },
  },

  broadcast: {
    open(c) {
      c.write('+');
    },
    data(_, view) {
      const writes = Number(parameter);
      for (let nth = 0; nth < writes; nth++) for (const each of server.connections()) each.write(view);
    },
  },

  source: {
    open(c) {
      c.data = { left: Number(parameter), count: 0 };
      pump(c);
    },
    drain: pump,
  },

  sink: {
    open(c) {
      c.data = { left: 0, count: 0 };
    },
    data(c, view) {
      c.data.count += view.length;
    },
    end(c) {
      c.end(`${c.data.count}`);
    },
  },
};

const handlers = kinds[kind];
if (handlers === undefined) throw new Error(`there is no kind '${kind}', only ${Object.keys(kinds).join(', ')}`);

// The backlog is as long as the kernel allows, as with all servers.
const server = await listen<Progress>({
  ...handlers,
  error: () => errors++,
  port: 0,
  hostname: '127.0.0.1',
  backlog: 4096,
});
announce(server.port as number, engine);
await answerUntilEnd(() => ({ connections: server.connectionCount, errors }));
