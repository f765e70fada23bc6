/** The links that are no channel of their own: to oneself, and to one peer over a link that all peers share. */
import type { Link } from '../link.ts';

/** A batch, with whose it is or whom it is for. */
export type Routed = [peer: number, acknowledged: number, batch: Uint8Array | undefined];

/** A link without an other side yet. */
function inert(post: Link['post']): Link {
  const link: Link = {
    post,
    onMessage: ignore,
    onDrain: ignore,
    onClosed: ignore,
    close() {
      link.onMessage = ignore;
      link.onDrain = ignore;
    },
  };
  return link;
}

/** To oneself: in a later turn, as from anybody else. */
export function loopLink(): Link {
  const link = inert((message) => {
    setImmediate(() => link.onMessage(message));
    return true;
  });
  return link;
}

/**
 * To one peer, over a link that all share; who has that one hands over what comes in, and that it drains.
 * @param peer what batches are labelled with: whom they are for, or, from the primary, whose they are
 */
export function routedLink(peer: number, shared: Link): Link {
  return inert((message) => {
    const [acknowledged, batch] = message as [number, Uint8Array | undefined];
    return shared.post([peer, acknowledged, batch] satisfies Routed);
  });
}

export function ignore(): void {}
