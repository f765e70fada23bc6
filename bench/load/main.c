// The load generator: one thread, epoll, no dependency but libc; it knows nothing of the server but what it answers. With
// tls.c in place of plain.c it is the load that speaks TLS (libssl of the system).
//
//   load MODE --port P [--host H] [--pid PID] [--warmup SEC] [--seconds SEC] [--limit SEC] [--histogram] ...
//
//   echo      --connections N --size S --in-flight M   closed loop: M messages on their way on each connection
//             --rate R                                  open loop: R messages a second by schedule (see echo.c)
//   rounds    --connections N --size S --copies W       connection 0 sends a message, each of the N gets it W times
//   download  --bytes B                                 a connection at a time brings B bytes and ends
//   upload    --bytes B                                 ... takes B bytes, answers their count and ends
//   churn     --connections N --size S                  N times at once: connect, one echo, close
//             --burst N                                 N connects at once, an echo on each, close all
//   exchange  --connections N --request HEX --answer HEX [--prelude HEX]   any protocol: these bytes for those
//   idle      --connections N                           opens N, says {"open":N}, holds them until stdin closes
//
// Every byte that comes back is compared. Phases: warm-up, measure, drain. One JSON line on stdout; on any failure one
// sentence on stderr and exit status 1 (2: wrong arguments, 3: time limit). CPU time of the server is read from its
// process clock (clock_getcpuclockid(3): all threads, user + system, ns) at the two ends of the measured phase.
#include "load.h"
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>

struct options opt = {
  .host = "127.0.0.1", .prelude = "", .request = "", .answer = "", .connections = 1, .size = 64, .in_flight = 1, .copies = 1, .bytes = 64 << 20,
  .warmup_s = 1, .seconds = 3, .limit_s = 60, .stall_s = 5,
};
uint64_t deadline_ns;

static const struct {
  const char *name;
  void (*run)(void);
} modes[] = {
  {"echo", run_echo},   {"rounds", run_rounds}, {"download", run_download},
  {"upload", run_upload}, {"churn", run_churn}, {"idle", run_idle},
  {"exchange", run_exchange},
};

_Noreturn void fail(int status, const char *format, ...) {
  va_list args;
  va_start(args, format);
  fputs("load: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  exit(status);
}

static double number(const char *name, const char *text, double min, double max) {
  char *end;
  errno = 0;
  double value = strtod(text, &end);
  if (end == text || *end || errno || !(value >= min && value <= max))
    fail(EXIT_USAGE, "--%s must be a number from %.15g to %.15g, not '%s'", name, min, max, text);
  return value;
}

static void parse(int argc, char **argv) {
  static const struct option table[] = {
    {"host", 1, 0, 'h'},      {"port", 1, 0, 'p'},   {"pid", 1, 0, 'P'},    {"connections", 1, 0, 'c'},
    {"size", 1, 0, 's'},      {"in-flight", 1, 0, 'm'}, {"copies", 1, 0, 'n'}, {"rate", 1, 0, 'r'},
    {"bytes", 1, 0, 'y'},     {"burst", 1, 0, 'b'},   {"request", 1, 0, 'R'},  {"answer", 1, 0, 'A'},  {"prelude", 1, 0, 'L'},
     {"warmup", 1, 0, 'w'}, {"seconds", 1, 0, 't'},
    {"limit", 1, 0, 'l'},     {"stall", 1, 0, 'x'},  {"histogram", 0, 0, 'g'}, {"resume", 1, 0, 'u'}, {0, 0, 0, 0},
  };
  int index = 0;
  for (int letter; (letter = getopt_long(argc, argv, "", table, &index)) != -1;) {
    const char *name = table[index].name;
    switch (letter) {
      case 'h': opt.host = optarg; break;
      case 'p': number(name, optarg, 1, 65535); opt.port = optarg; break;
      case 'P': opt.pid = (pid_t)number(name, optarg, 1, INT32_MAX); break;
      case 'c': opt.connections = (uint32_t)number(name, optarg, 1, 500000); break;
      case 's': opt.size = (uint32_t)number(name, optarg, 1, 64 << 20); break;
      case 'm': opt.in_flight = (uint32_t)number(name, optarg, 1, 65536); break;
      case 'n': opt.copies = (uint32_t)number(name, optarg, 1, 100000); break;
      case 'r': opt.rate = number(name, optarg, 1, 1e7); break;
      case 'y': opt.bytes = (uint64_t)number(name, optarg, 1, 1e12); break;
      case 'b': opt.burst = (uint32_t)number(name, optarg, 1, 500000); break;
      case 'w': opt.warmup_s = number(name, optarg, 0, 3600); break;
      case 't': opt.seconds = number(name, optarg, 0.01, 3600); break;
      case 'l': opt.limit_s = number(name, optarg, 1, 86400); break;
      case 'x': opt.stall_s = number(name, optarg, 0.1, 3600); break;
      case 'R': opt.request = optarg; break;
      case 'A': opt.answer = optarg; break;
      case 'L': opt.prelude = optarg; break;
      case 'g': opt.histogram = true; break;
      case 'u': opt.resumes = number(name, optarg, 0, 1) == 1; break;
      default: exit(EXIT_USAGE); // getopt has said why
    }
  }
  if (!opt.port) fail(EXIT_USAGE, "--port is missing");
}

/** Last resort, should something block that must not; the deadlines in the loops say more and come first. */
static void on_alarm(int signal) {
  (void)signal;
  static const char text[] = "load: time limit (stuck)\n";
  ssize_t ignored = write(2, text, sizeof text - 1);
  (void)ignored;
  _exit(EXIT_LIMIT);
}

int main(int argc, char **argv) {
  parse(argc, argv);
  const char *name = optind + 1 == argc ? argv[optind] : "";
  size_t mode = 0;
  while (mode < sizeof modes / sizeof *modes && strcmp(name, modes[mode].name)) mode++;
  if (mode == sizeof modes / sizeof *modes)
    fail(EXIT_USAGE, "takes one mode: echo, rounds, download, upload, churn, exchange or idle");

  prctl(PR_SET_PDEATHSIG, SIGKILL); // never outlive the benchmark
  signal(SIGPIPE, SIG_IGN);
  signal(SIGALRM, on_alarm);
  alarm((unsigned)opt.limit_s + 3);
  deadline_ns = now_ns() + (uint64_t)(opt.limit_s * 1e9);
  open_server_clock();
  resolve_server();
  raise_descriptor_limit();
  fill_pattern();
  modes[mode].run();
  return fflush(stdout) ? EXIT_FAILED : 0;
}
