/**
 * One end of a connection that plays its part of a script, and keeps books: what it sent, what it received, and which
 * events came in which order. Whatever is illegal at the moment it happens is noted at once in `complaints`.
 */
import type { Socket } from 'node:net';
import { StringDecoder } from 'node:string_decoder';
import { engine } from 'millrace';
import type { Action, EndSetting, Form, Side } from './script.ts';

/** Random bytes, the same in every run: no part looks like another one. */
const pool = (() => {
  const bytes = Buffer.alloc(4 * 1024 * 1024);
  for (let i = 0, x = 0x9e3779b9; i < bytes.length; i += 4) {
    x = (Math.imul(x ^ (x >>> 15), 0x2c1b3c6d) + i) | 0;
    bytes.writeInt32LE(x, i);
  }
  return bytes;
})();

function cut(at: number, size: number): Buffer {
  const start = at % (pool.length - size);
  return pool.subarray(start, start + size);
}

/** Bytes in a form in which they can be written, and what has to arrive of them. */
function shape(bytes: Buffer, form: Form): { chunk: Uint8Array | string; encoding?: BufferEncoding; wire: Buffer } {
  if (form === 'buffer') return { chunk: bytes, wire: bytes };
  if (form === 'uint8array')
    return { chunk: new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length), wire: bytes };
  // Memory of its own, which nobody else refers to once it is written.
  if (form === 'view') return { chunk: new Uint8Array(bytes), wire: bytes };
  // Not toString('utf16le'): of some lengths at odd addresses, that of Node.js 24.21 corrupts the heap.
  const text =
    form === 'utf16le' ? utf16.decode(bytes) : bytes.toString(form === 'utf8' || form === 'ascii' ? 'latin1' : form);
  // For utf8, text with characters of one to four bytes; for ascii, which writes as latin1, the same bytes.
  const chunk = form === 'utf8' ? text.replaceAll('\u00ff', '\u20ac').replaceAll('\u00fe', '\u{1f600}') : text;
  return { chunk, encoding: form, wire: Buffer.from(chunk, form) };
}

const utf16 = new TextDecoder('utf-16le');

const OWN_ERROR = 'own error';
/** What a violent script may make a socket fail with. */
const LEGAL_ERRORS = ['ECONNRESET', 'EPIPE', 'ECANCELED', 'ERR_STREAM_WRITE_AFTER_END', OWN_ERROR];

export class End {
  readonly socket: Socket;
  readonly side: Side;
  readonly setting: EndSetting;
  readonly events: string[] = [];
  readonly complaints: string[] = [];
  /** What was written, in order; no more than that may arrive. */
  readonly sent: Buffer[] = [];
  sentBytes = 0;
  readonly #received: Buffer[] = [];
  readonly #text: string[] = [];
  #encoding: BufferEncoding | undefined;
  #writes = 0;
  #called = 0;
  #failed = 0;
  #withCallback = 0;
  #needsDrain = false;
  #isHeld = false;
  isClosed = false;
  /** Writes of its own listeners: a bounded few, or a mark of 0 would never let the loop go on. */
  #answers = 0;
  #lastDone = -1;
  #errorCode: string | undefined;

  constructor(side: Side, socket: Socket, setting: EndSetting) {
    this.side = side;
    this.socket = socket;
    this.setting = setting;
    if (setting.usesReadable) socket.on('readable', () => this.#readAll());
    socket.on('data', (chunk: Buffer | string) => this.#onData(chunk));
    socket.on('end', () => this.#note('end'));
    socket.on('finish', () => this.#onFinish());
    socket.on('drain', () => this.#onDrain());
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#note('error');
      this.#errorCode = error.code ?? error.message;
      if (!LEGAL_ERRORS.includes(this.#errorCode)) this.complaints.push(`'error' with ${this.#errorCode}`);
      if (!socket.destroyed) this.complaints.push("'error' of a socket that is not destroyed");
    });
    socket.on('close', (hadError: boolean) => {
      this.#note('close');
      this.isClosed = true;
      if (hadError !== this.events.includes('error')) this.complaints.push(`'close' says ${hadError}`);
      if (this.#called !== this.#withCallback)
        this.complaints.push(`'close' before ${this.#withCallback - this.#called} callbacks`);
    });
  }

  // ---- listeners ----

  #note(event: string): void {
    if (this.isClosed) this.complaints.push(`'${event}' after 'close'`);
    if (event !== 'data' && this.events.includes(event)) this.complaints.push(`'${event}' twice`);
    if (event === 'data' && this.events.includes('end')) this.complaints.push("'data' after 'end'");
    if (this.events.includes('error') && event !== 'close') this.complaints.push(`'${event}' after 'error'`);
    if (this.events.at(-1) !== event) this.events.push(event);
  }

  #onData(chunk: Buffer | string): void {
    this.#note('data');
    if (typeof chunk === 'string') this.#text.push(chunk);
    else this.#received.push(chunk);
    if ((typeof chunk === 'string') !== (this.#encoding !== undefined)) this.complaints.push(`a ${typeof chunk}`);
    switch (this.setting.onData) {
      case 'nothing':
        break;
      case 'pause':
        this.#hold();
        setImmediate(() => this.#go());
        break;
      case 'echo':
        if (this.#answers++ < 20) this.write(100, 'latin1', true);
        break;
      case 'end':
        if (this.socket.writable) this.end(10);
        break;
    }
  }

  #onFinish(): void {
    this.#note('finish');
    if (!this.socket.writableEnded) this.complaints.push("'finish' without end()");
    if (this.#called !== this.#withCallback) this.complaints.push("'finish' before the callbacks of all writes");
    if (this.#failed > 0) this.complaints.push("'finish' although a write failed");
  }

  #onDrain(): void {
    if (this.isClosed) this.complaints.push("'drain' after 'close'");
    if (!this.#needsDrain) this.complaints.push("'drain' although no write said false");
    if (this.socket.writableLength > 0) this.complaints.push(`'drain' with ${this.socket.writableLength} bytes queued`);
    this.#needsDrain = false;
    if (this.setting.onDrain === 'write' && this.#answers++ < 20) this.write(10, 'buffer', true);
  }

  #readAll(): void {
    while (!this.#isHeld && this.socket.read() !== null);
  }

  // ---- what a script can ask for ----

  write(size: number, form: Form, hasCallback: boolean, isChecked = true): void {
    const { socket } = this;
    if (isChecked && !socket.writable) return;
    const { chunk, encoding, wire } = shape(cut(this.sentBytes, size), form);
    if (socket.writable) {
      this.sent.push(wire);
      this.sentBytes += wire.length;
    }
    const number = this.#writes++;
    const wasWritable = socket.writable;
    // Who writes before the connection stands is told by 'close' that there will be none; who writes afterwards, later.
    const isOpen = wasWritable && !socket.connecting;
    const callback = (error?: Error | null): void => {
      if (isOpen) this.#called++;
      if (error) this.#failed++;
      else if (!wasWritable) this.complaints.push(`write ${number} succeeded after the end`);
      if (this.isClosed && isOpen) this.complaints.push(`callback ${number} after 'close'`);
      // 'drain' comes before the callbacks of what was drained.
      if (socket.writable && socket.writableLength === 0 && this.#needsDrain) this.complaints.push("a lost 'drain'");
      // The callbacks of writes that an error or destroy() cut off come in any order: that is node:stream, not net.
      if (!isOpen || error) return;
      if (number < this.#lastDone) this.complaints.push(`callback ${number} after ${this.#lastDone}`);
      this.#lastDone = number;
    };
    if (hasCallback && isOpen) this.#withCallback++;
    const more =
      encoding === undefined
        ? socket.write(chunk as Uint8Array, hasCallback ? callback : undefined)
        : socket.write(chunk as string, encoding, hasCallback ? callback : undefined);
    if (!more && wasWritable) this.#needsDrain = true;
  }

  end(size: number): void {
    const { socket } = this;
    if (!socket.writable) return;
    const bytes = cut(this.sentBytes, size);
    this.sent.push(bytes);
    this.sentBytes += size;
    socket.end(bytes);
    if (socket.writableNeedDrain) this.#needsDrain = true; // uncorked by end(), it may be written before the end is known
  }

  #hold(): void {
    this.#isHeld = true;
    this.socket.pause();
  }

  #go(): void {
    this.#isHeld = false;
    this.socket.resume();
    if (this.setting.usesReadable) this.#readAll();
  }

  act(action: Exclude<Action, { does: 'turns' }>): void {
    const { socket } = this;
    switch (action.does) {
      case 'write':
        this.write(action.size, action.form, action.hasCallback);
        break;
      case 'writeAnyway':
        this.write(7, 'buffer', true, false);
        break;
      case 'end':
        this.end(action.size);
        break;
      case 'read':
        socket.read(action.count);
        break;
      case 'setEncoding':
        if (this.#encoding !== undefined) break; // the second one would decode text: that is node:stream
        this.#encoding = action.encoding;
        socket.setEncoding(action.encoding);
        break;
      case 'cork':
        socket.cork();
        break;
      case 'uncork':
        socket.uncork();
        break;
      case 'pause':
        this.#hold();
        break;
      case 'resume':
        this.#go();
        break;
      case 'noDelay':
        socket.setNoDelay(true);
        break;
      case 'ping': // a dialogue in small pieces, over ticks
        process.nextTick(() => this.write(1, 'buffer', true));
        break;
      case 'destroy':
        socket.destroy();
        break;
      case 'destroyWithError':
        socket.destroy(new Error(OWN_ERROR));
        break;
      case 'destroySoon':
        socket.destroySoon();
        break;
      case 'reset':
        this.#reset();
        break;
    }
  }

  #reset(): void {
    const { socket } = this;
    if (socket.destroyed || (socket as { _handle?: { isUnix?: boolean } })._handle?.isUnix) return;
    if (engine === 'node') {
      // node:net throws for pipes. Between end() and its FIN it emits EINVAL of 'reset' and never closes; while it
      // connects, the reset waits for the connection, and end() may come first.
      if (socket.connecting || (socket.writableEnded && !socket.writableFinished)) return;
      if ((socket as { _handle?: object })._handle?.constructor.name === 'Pipe') return;
    }
    socket.resetAndDestroy();
  }

  /** The script is over: ends what is open, and reads what is left. */
  settle(): void {
    if (!this.socket.destroyed) this.socket.end();
    this.#go();
  }

  // ---- afterwards ----

  get errorCode(): string | undefined {
    return this.#errorCode;
  }

  /** What is wrong with all that came, given what the other end sent. */
  judge(other: End, mustBeComplete: boolean): string[] {
    const wrong = this.complaints.map((complaint) => `${this.side}: ${complaint} (${this.events.join(' ')})`);
    const complain = (what: string): void => void wrong.push(`${this.side}: ${what}`);
    if (this.events.filter((event) => event === 'close').length !== 1) complain("no 'close'");
    const expected = Buffer.concat(other.sent);
    const bytes = Buffer.concat(this.#received);
    if (Buffer.compare(bytes, expected.subarray(0, bytes.length)) !== 0)
      complain(`${bytes.length} bytes that nobody sent`);
    const hasEnd = this.events.includes('end');
    if (this.#encoding !== undefined) {
      const decoder = new StringDecoder(this.#encoding);
      const head = decoder.write(expected.subarray(bytes.length));
      const whole = head + decoder.end();
      const text = this.#text.join('');
      // A character that was cut off by a destroy() of the sender becomes U+FFFD.
      if (!whole.startsWith(text) && !(hasEnd && !mustBeComplete))
        complain(`${text.length} characters that nobody sent`);
      // Who sets the encoding when the end is known already gets no half character: that is node:stream.
      if (mustBeComplete && text !== whole && text !== head) complain(`${text.length} characters of ${whole.length}`);
    } else if (mustBeComplete && bytes.length !== expected.length) {
      complain(`${bytes.length} bytes of ${expected.length}`);
    }
    if (mustBeComplete) {
      for (const event of ['end', 'finish']) if (!this.events.includes(event)) complain(`no '${event}'`);
      if (this.events.includes('error')) complain(`'error' ${this.#errorCode}`);
      if (this.socket.bytesWritten !== this.sentBytes)
        complain(`bytesWritten ${this.socket.bytesWritten} of ${this.sentBytes}`);
      if (this.socket.bytesRead !== other.sentBytes)
        complain(`bytesRead ${this.socket.bytesRead} of ${other.sentBytes}`);
    }
    return wrong;
  }
}
