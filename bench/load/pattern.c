// What echoes are made of. Byte p of connection c is random[(c * 7919 + p) mod 65521]. 65521 is prime, so each connection
// starts elsewhere, and a byte that was lost, doubled, moved or given to another connection is seen. The table goes on
// past the period, so that a send or a compare of up to CHUNK bytes needs no wrapping and no copy.
#include "load.h"

uint8_t pattern[PERIOD + CHUNK], input[CHUNK];

void fill_pattern(void) {
  uint64_t x = 0x9e3779b97f4a7c15u; // xorshift64
  for (size_t i = 0; i < sizeof pattern; i++) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    pattern[i] = i < PERIOD ? (uint8_t)(x >> 32) : pattern[i - PERIOD];
  }
}

/** `input` against what it must be. @fails with the first wrong byte. */
void compare(const uint8_t *expected, uint64_t n, uint32_t connection, uint64_t position) {
  if (!memcmp(input, expected, n)) return;
  uint64_t i = 0;
  while (input[i] == expected[i]) i++;
  fail(EXIT_FAILED, "wrong byte on connection %u at position %" PRIu64 ": 0x%02x instead of 0x%02x", connection,
       position + i, input[i], expected[i]);
}
