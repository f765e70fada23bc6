// Clocks, read at the two ends of the measured phase, and the line of results made of their differences.
#include "load.h"

static clockid_t server_clock;
uint64_t operations;

static uint64_t clock_ns(clockid_t clock) {
  struct timespec t;
  if (clock_gettime(clock, &t))
    fail(EXIT_FAILED, "the clock of process %d can't be read (has the server ended?): %s", opt.pid, strerror(errno));
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

void open_server_clock(void) {
  int error = opt.pid ? clock_getcpuclockid(opt.pid, &server_clock) : 0;
  if (error) fail(EXIT_FAILED, "no CPU clock of process %d: %s", opt.pid, strerror(error));
}

/** Time the main thread was runnable but did not run, in ns: shows that somebody else was using its core. */
static uint64_t waited_ns(pid_t pid) {
  char path[64];
  uint64_t ran = 0, waited = 0;
  snprintf(path, sizeof path, "/proc/%d/schedstat", pid);
  FILE *file = fopen(path, "r");
  if (!file) return 0; // CONFIG_SCHED_INFO is off
  if (fscanf(file, "%" SCNu64 " %" SCNu64, &ran, &waited) != 2) waited = 0;
  fclose(file);
  return waited;
}

/** From /proc/PID/stat: user and system time in seconds (10 ms steps: for the split only, the sum comes from the clock), page faults. */
static void read_stat(pid_t pid, double *user, double *system, uint64_t *faults) {
  char path[64], line[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE *file = fopen(path, "r");
  if (!file) return;
  unsigned long u = 0, s = 0, f = 0;
  char *rest = fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL; // proc(5): the name may hold spaces
  if (rest && sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %lu %*u %*u %*u %lu %lu", &f, &u, &s) == 3) {
    *faults = f;
    *user = (double)u / (double)sysconf(_SC_CLK_TCK);
    *system = (double)s / (double)sysconf(_SC_CLK_TCK);
  }
  fclose(file);
}

struct instant instant(void) {
  struct instant at = {.operations = operations, .own = clock_ns(CLOCK_PROCESS_CPUTIME_ID), .own_waited = waited_ns(getpid())};
  if (opt.pid) {
    at.server_waited = waited_ns(opt.pid);
    read_stat(opt.pid, &at.user, &at.system, &at.faults);
    at.server = clock_ns(server_clock);
  }
  at.wall = now_ns();
  return at;
}

void print_result(struct instant a, struct instant b) {
  double seconds = (double)(b.wall - a.wall) / 1e9, count = (double)(b.operations - a.operations);
  if (count == 0) fail(EXIT_FAILED, "nothing was complete in the measured phase of %g s", seconds);
  printf("{\"operations\":%.0f,\"seconds\":%.6f,\"perSecond\":%.1f", count, seconds, count / seconds);
  printf(",\"latencyUs\":{\"mean\":%.2f,\"p50\":%.2f,\"p90\":%.2f,\"p99\":%.2f,\"p999\":%.2f,\"max\":%.2f}", mean_us(),
         percentile_us(.5), percentile_us(.9), percentile_us(.99), percentile_us(.999), max_us());
  if (opt.histogram) print_histogram();
  if (opt.pid) {
    double cpu = (double)(b.server - a.server) / 1e9;
    printf(",\"server\":{\"cpuSeconds\":%.9f,\"cpuUsPerOperation\":%.5f,\"userSeconds\":%.2f,\"systemSeconds\":%.2f,\"faultsPerOperation\":%.4f,\"busy\":%.4f,\"waited\":%.4f}",
           cpu, cpu * 1e6 / count, b.user - a.user, b.system - a.system, (double)(b.faults - a.faults) / count,
           cpu / seconds, (double)(b.server_waited - a.server_waited) / 1e9 / seconds);
  }
  double own = (double)(b.own - a.own) / 1e9;
  printf(",\"load\":{\"cpuSeconds\":%.9f,\"cpuUsPerOperation\":%.5f,\"busy\":%.4f,\"waited\":%.4f}}\n", own,
         own * 1e6 / count, own / seconds, (double)(b.own_waited - a.own_waited) / 1e9 / seconds);
}
