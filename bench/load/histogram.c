// Latencies, log-linear: values below 128 ns exact, then 64 buckets for each power of two (error under 1.6 %).
#include "load.h"

enum { STEPS = 64, BUCKETS = STEPS * 60 };
static uint64_t buckets[BUCKETS], total, sum_ns, max_ns;

void record(uint64_t ns) {
  unsigned shift = ns < 2 * STEPS ? 0 : 57u - (unsigned)__builtin_clzll(ns); // leaves 64..127
  buckets[shift * STEPS + (ns >> shift)]++;
  total++;
  sum_ns += ns;
  if (ns > max_ns) max_ns = ns;
}

/** Upper end of a bucket, in µs. */
static double bucket_us(unsigned index) {
  unsigned shift = index < 2 * STEPS ? 0 : index / STEPS - 1;
  uint64_t steps = index - (uint64_t)shift * STEPS;
  return (double)(((steps + 1) << shift) - 1) / 1000;
}

double mean_us(void) { return total ? (double)sum_ns / (double)total / 1000 : 0; }
double max_us(void) { return (double)max_ns / 1000; }

double percentile_us(double share) {
  uint64_t rank = (uint64_t)(share * (double)total), seen = 0;
  for (unsigned i = 0; i < BUCKETS; i++)
    if ((seen += buckets[i]) > rank) {
      double us = bucket_us(i);
      return us < max_us() ? us : max_us();
    }
  return max_us();
}

void print_histogram(void) {
  printf(",\"histogram\":["); // pairs: upper end in µs, count
  const char *comma = "";
  for (unsigned i = 0; i < BUCKETS; i++)
    if (buckets[i]) printf("%s[%.3f,%" PRIu64 "]", comma, bucket_us(i), buckets[i]), comma = ",";
  printf("]");
}
