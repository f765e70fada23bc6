/**
 * The contract of a framing: where a frame begins and ends in a stream of bytes. Everything in this folder that has its
 * own file and a name on the wire (lines, length prefix, varint, ...) is one; so is one that you write.
 *
 *      bytes   ... already taken | unread: what find() may look at          | not received yet
 *                                ^ at                                       ^ end
 *                                  head   | payload              | tail
 *                                         ^ frameStart           ^ frameEnd
 */

/** The unread bytes, and what `find` says about them. There is one for each decoder. */
export interface Input {
  /** The memory. Only `at` to `end` is to be looked at, and only during the call. */
  bytes: Buffer;
  /** Sometimes the same memory as text, `text[i]` for `bytes[i]`: all of it is ASCII. Only to find something faster. */
  text: string | undefined;
  /** The first unread byte. Whoever moves it has taken the bytes before it: they don't come back. */
  at: number;
  /** Behind the last unread byte. Not to be changed. */
  end: number;
  /**
   * Only when more is needed: how many unread bytes (counted from `at`) are needed at least. It saves calls and memory,
   * but a call may come earlier. 0, as it is before each call, means one more than now.
   */
  need: number;
  /** The payload of the frame that was found. It lies in what `find` was given; it may be empty. */
  frameStart: number;
  frameEnd: number;
  /** Frames that were left out, by a framing that may do so. The framing counts up. */
  skippedFrames: number;
}

/** Finds the frames of one stream: the state between two calls is in here. */
export interface FrameFinder {
  /**
   * Finds the next frame.
   *
   * - It sees exactly the unread bytes: none is left out, none is shown again once it was taken. What it sees may be
   *   cut anywhere.
   * - `true`: a frame. `at` stands behind it (tail included), `frameStart` and `frameEnd` are set. At least one byte
   *   was taken.
   * - `false`: more bytes are needed; `need` may say how many. This is not an error. It may have taken bytes that it
   *   has no more use for (a header it remembers, a frame it skips). The call comes again with the bytes that were left
   *   and at least one more.
   * - It throws when no further byte could mend it: a length over the limit is refused as soon as it is read. Nothing
   *   is called on this finder afterwards.
   * - What it says about a stream must not depend on how the stream was cut: `verifyCodec` checks that. Nor may it read
   *   a byte over and over: remember how far you have looked, or say `need`.
   */
  find(input: Input): boolean;
  /**
   * Called when the stream has ended, after `find` has said that it needs more; again and again until it returns
   * `false`. `true`: the bytes that are left are, or begin with, a frame, and at least one byte was taken. Where there
   * is no such method, or unread bytes are left when it returns `false`, the decoder throws `TRUNCATED`.
   */
  end?(input: Input): boolean;
  /** Whether bytes were taken of a frame that isn't over; it makes an end of the stream here `TRUNCATED`. */
  readonly isMidFrame?: boolean;
}

/** A framing: the finder for what comes in, and how a frame is put around what goes out. Shared by all connections. */
export interface Framing {
  /** The most bytes that a payload may have. */
  readonly maxFrameBytes: number;
  /**
   * The most bytes that a finder leaves unread: a frame of `maxFrameBytes` with head and tail. A finder that needs more
   * is refused with `FRAME_TOO_LARGE`, so this bounds the memory of a decoder whatever a finder does.
   */
  readonly maxUnreadBytes: number;
  /** A finder for a new stream. */
  finder(): FrameFinder;
  /**
   * How many bytes stand before a payload of this size.
   *
   * @throws {MILLRACE_ERR_FRAME_TOO_LARGE} there is no frame for so many
   */
  headBytes(payloadBytes: number): number;
  /** How many bytes stand behind it. */
  readonly tailBytes: number;
  /**
   * Whether `seal` looks into the payload or changes it: then the payload has to lie between head and tail.
   * Otherwise it can be sent from where it lies.
   */
  readonly touchesPayload: boolean;
  /**
   * Writes the head at `headAt` and the tail at `tailAt` of `target`. The payload lies between them if
   * `touchesPayload`.
   *
   * @throws {MILLRACE_ERR_BAD_PAYLOAD} the payload can't stand in such a frame: a line with a newline in it
   */
  seal(target: Uint8Array, headAt: number, payloadBytes: number, tailAt: number): void;
}
