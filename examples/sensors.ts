// A collector of readings: many devices, one line of JSON for each reading, one summary for each device. What a device sends is
// checked before it is believed; a device that has gone silent is let go after a minute, for radio links die without a word.
//
//   node .build/examples/sensors.js --port 4000
//   node .build/examples/sensor.js --port 4000 --device boiler
//   echo '{"device":"attic","celsius":19.5}' | nc -N 127.0.0.1 4000

import { parseArgs } from 'node:util';
import { type AddressInfo, createServer } from 'millrace';
import { lines } from 'millrace/framing';

const SILENCE_MS = 60_000;
const MAX_DEVICES = 10_000;

const { values } = parseArgs({
  options: { port: { type: 'string', default: '4000' }, host: { type: 'string', default: '127.0.0.1' } },
});

interface Summary {
  readings: number;
  min: number;
  max: number;
  last: number;
}
const codec = lines({ maxFrameBytes: 1024 }).utf8();
const summaries = new Map<string, Summary>();

const server = createServer({ keepAlive: true }, (socket) => {
  const seen = new Set<string>();
  const decoder = codec.decoder((line) => {
    const problem = collect(line, seen);
    if (problem) socket.write(`error: ${problem}\n`);
  });

  socket.on('error', (error) => console.log(`a device failed: ${error.message}`));
  socket.setTimeout(SILENCE_MS, () => socket.destroy(new Error(`silent for ${SILENCE_MS / 1000} s`)));
  socket.on('data', (chunk: Buffer) => {
    try {
      decoder.push(chunk);
    } catch (error) {
      socket.destroy(error as Error);
    }
    // A device that sends nonsense and never reads what we think of it is not read either.
    if (socket.writableNeedDrain) {
      socket.pause();
      socket.once('drain', () => socket.resume());
    }
  });
  socket.on('close', () => {
    for (const device of seen) {
      const { readings, min, max, last } = summaries.get(device)!;
      console.log(`${device}: ${readings} readings, ${min} to ${max} °C, last ${last} °C`);
    }
  });
});

/** Takes one reading in; says what is wrong with it if something is. */
function collect(line: string, seen: Set<string>): string | undefined {
  const reading = parse(line);
  if (typeof reading?.device !== 'string' || !/^[\w-]{1,32}$/.test(reading.device))
    return 'no "device" of 1 to 32 letters, digits, _ or -';
  if (!Number.isFinite(reading.celsius)) return 'no number in "celsius"';
  const { device, celsius } = reading as { device: string; celsius: number };

  const summary = summaries.get(device) ?? { readings: 0, min: celsius, max: celsius, last: celsius };
  if (summaries.size === MAX_DEVICES && !summaries.has(device)) return `no room for more than ${MAX_DEVICES} devices`;
  summary.readings++;
  summary.min = Math.min(summary.min, celsius);
  summary.max = Math.max(summary.max, celsius);
  summary.last = celsius;
  summaries.set(device, summary);
  seen.add(device);
  return undefined;
}

function parse(line: string): { device?: unknown; celsius?: unknown } | null {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}

server.on('error', (error) => {
  console.error(error.message);
  process.exitCode = 1;
});
server.listen({ port: Number(values.port), host: values.host }, () => {
  const { address, port } = server.address() as AddressInfo;
  console.log(`listening on ${address}:${port}`);
});
