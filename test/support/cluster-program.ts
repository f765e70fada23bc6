/** A primary with one worker, which is asked for its greeting and then disconnected. For test/net/cluster.test.ts. */
import cluster from 'node:cluster';
import nodeNet from 'node:net';
import net from 'millrace';

if (cluster.isWorker) {
  const server = net.createServer((socket) => void socket.end('from a worker'));
  server.on('close', () => process.send?.('closed'));
  server.listen(0, '127.0.0.1');
} else {
  cluster.schedulingPolicy = process.argv[2] === 'SCHED_NONE' ? cluster.SCHED_NONE : cluster.SCHED_RR;
  const worker = cluster.fork();
  worker.on('message', (message) => console.log(`server ${message}`));
  worker.on('listening', ({ port }) => {
    const client = nodeNet.connect(port, '127.0.0.1');
    client.on('data', (chunk) => console.log(String(chunk)));
    client.on('close', () => worker.disconnect());
  });
  worker.on('exit', (code) => console.log(`exit ${code}`));
}
