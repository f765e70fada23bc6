/** Calls back; what that throws is the program's: an 'uncaughtException', and no affair of the session. */
export function tell(callback: () => void): void {
  try {
    callback();
  } catch (error) {
    process.nextTick(() => {
      throw error;
    });
  }
}
