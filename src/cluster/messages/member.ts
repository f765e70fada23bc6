/** A worker's part: it does what hub.ts of the primary says. */
import { type Link, portLink } from '../link.ts';
import { type Bus, PRIMARY } from './bus.ts';
import type { Word } from './hub.ts';
import { type Routed, routedLink } from './link.ts';

/** Lets a worker's end meet the others. `link` leads to the primary. Resolves when the primary is among them. */
export function joinHub(bus: Bus, link: Link): Promise<void> {
  const routed = new Map<number, Link>();
  let onJoined = (): void => {};
  const joined = new Promise<void>((resolve) => {
    onJoined = resolve;
  });
  link.onMessage = (message) => {
    if (Array.isArray(message)) {
      const [from, acknowledged, batch] = message as Routed;
      routed.get(from)?.onMessage([acknowledged, batch]);
      return;
    }
    const word = message as Word;
    if ('leave' in word) {
      routed.delete(word.leave);
      bus.disconnect(word.leave);
    } else {
      const to = word.port === undefined ? routedLink(word.join, link) : portLink('bus', word.port);
      if (word.port === undefined) routed.set(word.join, to);
      bus.connect(word.join, to);
      if (word.join === PRIMARY) onJoined();
    }
  };
  link.onDrain = () => {
    for (const each of routed.values()) each.onDrain();
  };
  link.post('here');
  return joined;
}
