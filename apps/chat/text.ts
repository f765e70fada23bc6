// What of a line is fit for other people's terminals, and what is fit to be a name. Pure functions; linear in the text.

// ECMA-48: ESC [ parameters intermediates final (CSI); ESC ] or P X ^ _ and a string up to BEL or ESC \ (OSC, DCS, SOS, PM,
// APC); ESC intermediates final. And CSI as the single character U+009B.
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what this is about
const ESCAPE_SEQUENCE = /(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]/g;
// Controls, line and paragraph separators, and the marks that turn the direction of everything that follows.
const UNFIT = /[\p{Cc}\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu;

/** The text without escape sequences and control characters; tabs become spaces. */
export function plain(text: string): string {
  return text.replace(ESCAPE_SEQUENCE, '').replaceAll('\t', ' ').replace(UNFIT, '');
}

const NAME = /^[\p{L}\p{N}][\p{L}\p{M}\p{N}_.-]{0,19}$/u;

/** Whether a name can't be taken for a notice, a command or another line's beginning. */
export function isName(name: string): boolean {
  return NAME.test(name);
}

/** Names with one key are one name: ann, ANN, and ａｎｎ in full width. */
export function nameKey(name: string): string {
  return name.normalize('NFKC').toLowerCase();
}
