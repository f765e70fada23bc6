// A terminal for the chat: what is typed goes out line by line, what comes is printed. The end of the input ends our side of the
// connection, and answers that are on their way still come.
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { lines } from 'millrace/framing';
import { dial } from 'millrace/session';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '4000' },
    host: { type: 'string', default: '127.0.0.1' },
    name: { type: 'string' },
  },
});

try {
  const codec = lines({ maxFrameBytes: 4096 }).utf8();
  const session = await dial({ port: Number(values.port), host: values.host, codec });
  if (values.name !== undefined) await session.send(values.name);
  const keyboard = createInterface({ input: process.stdin });
  // Lines that can't be sent any more are nobody's loss: why is said below.
  keyboard.on('line', (line) => void session.send(line).catch(() => {}));
  keyboard.on('close', () => session.end());
  for await (const line of session) console.log(line);
  keyboard.close();
} catch (error) {
  console.error((error as Error).message);
  process.exit(1);
}
