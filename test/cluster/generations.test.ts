import assert from 'node:assert/strict';
import test from 'node:test';
import { leakGuard } from '../support/net.ts';
import { anyPort, kinds, limit, reach, TestedGroup } from './support/group.ts';

await leakGuard();

/** 200 were tried by hand. */
const GENERATIONS = 6;

for (const kind of kinds) {
  test(`generations of workers leave nothing open in the primary: ${kind}`, limit, async (t) => {
    const group = await TestedGroup.start(t, { kind, workers: 1, data: { listen: [anyPort] } });
    const [port] = (await group.ports(1)) as [number];
    const next = async (): Promise<number> => {
      const client = await reach(t, port);
      group.say('reload');
      assert.equal((await group.next('reload'))['error'], undefined);
      client.socket.end();
      await group.next('exit');
      return (await group.info())['descriptors'] as number;
    };
    await next();
    const first = await next();
    let last = first;
    for (let i = 0; i < GENERATIONS; i++) last = await next();
    assert.ok(last <= first + 2, `${first} descriptors, and ${last} after ${GENERATIONS} generations`);
    await group.close();
  });
}
