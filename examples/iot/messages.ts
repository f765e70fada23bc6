// What devices and gateway say to each other: lines of JSON, each looked at by a schema before it is believed.
//
//   device:  {"device":"boiler-7"}   first on each connection        {"seq":5,"celsius":20.4}      {"done":3}
//   gateway: {"ack":5}   report 5 and all before it are on disk      {"order":3,"intervalMs":500}
import { type Codec, lines, type StandardSchemaV1 } from 'millrace/framing';

export type ToGateway = { device: string } | { seq: number; celsius: number } | { done: number };
export type ToDevice = { ack: number } | { order: number; intervalMs: number };

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
const toGateway = schema<ToGateway>(({ device, seq, celsius, done }) => {
  if (device !== undefined) return typeof device === 'string' && /^[\w-]{1,32}$/.test(device);
  return (isCount(seq) && Number.isFinite(celsius)) || isCount(done);
});
const toDevice = schema<ToDevice>(
  ({ ack, order, intervalMs }) => isCount(ack) || (isCount(order) && isCount(intervalMs)),
);

const frames = lines({ maxFrameBytes: 256 });
export const gatewayCodec: Codec<ToGateway, ToDevice> = frames.json(toGateway);
export const deviceCodec: Codec<ToDevice, ToGateway> = frames.json(toDevice);

/** The least that is a Standard Schema; Zod, Valibot and others make better ones. */
function schema<T>(isValid: (fields: Record<string, unknown>) => boolean): StandardSchemaV1<unknown, T> {
  const validate = (value: unknown) =>
    isValid(Object(value)) ? { value: value as T } : { issues: [{ message: 'no message of this protocol' }] };
  return { '~standard': { version: 1, vendor: 'example', validate } };
}
