/** SIGTERM and SIGINT drain, a second one doesn't wait; SIGHUP reloads. */

export interface SignalActions {
  close(): void;
  kill(): void;
  reload(): void;
}

/** @returns takes the listeners away, and with the last one the signals are as before */
export function onSignals({ close, kill, reload }: SignalActions): () => void {
  let isClosing = false;
  const end = (): void => {
    if (isClosing) kill();
    else close();
    isClosing = true;
  };
  process.on('SIGTERM', end).on('SIGINT', end).on('SIGHUP', reload);
  return () => void process.off('SIGTERM', end).off('SIGINT', end).off('SIGHUP', reload);
}
