// Reports on disk, a line each. What comes while a write is under way is written together by the next one: ten thousand devices
// cost no more writes than ten.
import { type FileHandle, open } from 'node:fs/promises';

export class Journal {
  readonly #file: FileHandle;
  /** Of each device the number of its last report. */
  readonly #last = new Map<string, number>();
  #waiting: string[] = [];
  #writing: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;

  constructor(file: FileHandle, lines: readonly string[]) {
    this.#file = file;
    for (const [device, seq] of lines.map((line) => line.split(' '))) this.#last.set(device!, Number(seq));
  }

  static async open(path: string): Promise<Journal> {
    const file = await open(path, 'a+');
    const text = await file.readFile('utf8');
    const lines = text.split('\n');
    const torn = lines.pop()!; // by a crash, before anybody was told that it is here
    await file.truncate(Buffer.byteLength(text) - Buffer.byteLength(torn));
    return new Journal(file, lines);
  }

  /** Keeps each report once, however often it comes. Resolves when it is on disk, to whether it was new. */
  async store(device: string, seq: number, celsius: number): Promise<boolean> {
    const isNew = seq > (this.#last.get(device) ?? 0);
    if (isNew) {
      this.#last.set(device, seq);
      this.#waiting.push(`${device} ${seq} ${celsius}\n`);
    }
    this.#next ??= this.#writing.then(() => {
      const text = this.#waiting.splice(0).join('');
      this.#next = undefined;
      this.#writing = this.#file.appendFile(text).then(() => this.#file.datasync());
      return this.#writing;
    });
    await this.#next; // for an old one, too: the write that brings it may be under way
    return isNew;
  }
}
