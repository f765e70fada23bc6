/* System calls without libc, so that one binary serves glibc and musl, and -errno comes back as the kernel gives it. The
 * only names of libc that the binary asks for are those that the compiler itself uses (memcpy and the like), without a
 * version: every Node.js has them loaded. */
#ifndef MILLRACE_SYS_H
#define MILLRACE_SYS_H

#include "abi.h"

#if defined(__x86_64__)
enum {
  SYS_read = 0, SYS_write = 1, SYS_close = 3, SYS_mmap = 9, SYS_munmap = 11, SYS_ioctl = 16, SYS_writev = 20, SYS_socket = 41, SYS_connect = 42, SYS_sendto = 44, SYS_recvfrom = 45,
  SYS_sendmsg = 46, SYS_recvmsg = 47, SYS_shutdown = 48, SYS_bind = 49, SYS_listen = 50, SYS_getsockname = 51, SYS_getpeername = 52,
  SYS_socketpair = 53, SYS_setsockopt = 54, SYS_getsockopt = 55, SYS_fcntl = 72, SYS_epoll_ctl = 233,
  SYS_ppoll = 271, SYS_epoll_pwait = 281, SYS_accept4 = 288, SYS_eventfd2 = 290, SYS_epoll_create1 = 291, SYS_io_uring_setup = 425,
  SYS_io_uring_enter = 426, SYS_io_uring_register = 427
};
static inline long syscall6(long n, long a, long b, long c, long d, long e, long f) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}
#elif defined(__aarch64__)
enum {
  SYS_eventfd2 = 19, SYS_epoll_create1 = 20, SYS_epoll_ctl = 21, SYS_epoll_pwait = 22, SYS_fcntl = 25, SYS_ioctl = 29, SYS_close = 57,
  SYS_read = 63, SYS_write = 64, SYS_writev = 66, SYS_ppoll = 73,
  SYS_socket = 198, SYS_socketpair = 199, SYS_bind = 200, SYS_listen = 201, SYS_connect = 203, SYS_getsockname = 204,
  SYS_getpeername = 205, SYS_sendto = 206, SYS_recvfrom = 207, SYS_setsockopt = 208, SYS_getsockopt = 209,
  SYS_shutdown = 210, SYS_sendmsg = 211, SYS_recvmsg = 212, SYS_munmap = 215, SYS_mmap = 222, SYS_accept4 = 242,
  SYS_io_uring_setup = 425, SYS_io_uring_enter = 426, SYS_io_uring_register = 427
};
static inline long syscall6(long n, long a, long b, long c, long d, long e, long f) {
  register long x8 __asm__("x8") = n;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
}
#else
#error "millrace has native code for x86-64 and arm64 only; elsewhere it runs on node:net"
#endif

#define sys0(n) syscall6(n, 0, 0, 0, 0, 0, 0)
#define sys1(n, a) syscall6(n, (long)(a), 0, 0, 0, 0, 0)
#define sys2(n, a, b) syscall6(n, (long)(a), (long)(b), 0, 0, 0, 0)
#define sys3(n, a, b, c) syscall6(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define sys4(n, a, b, c, d) syscall6(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define sys5(n, a, b, c, d, e) syscall6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define sys6(n, a, b, c, d, e, f) syscall6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

enum { /* errno values used here; the same on both architectures */
  E_INTR = 4, E_AGAIN = 11, E_NOMEM = 12, E_BUSY = 16, E_INVAL = 22, E_MFILE = 24, E_NOSYS = 38, E_NOBUFS = 105,
  E_ALREADY = 114, E_INPROGRESS = 115, E_CANCELED = 125, E_NOENT = 2, E_BADF = 9, E_CONNABORTED = 103, E_ISCONN = 106
};

enum { SOL_SOCKET_ = 1, AF_UNIX_ = 1, SOCK_STREAM_ = 1, SOCK_NONBLOCK_ = 04000, SOCK_CLOEXEC_ = 02000000 };
enum { MSG_DONTWAIT_ = 0x40, MSG_NOSIGNAL_ = 0x4000 };

/* Zeroed pages, or NULL. Pages that are never touched cost nothing. */
static inline void *map_pages(size_t bytes) {
  long p = sys6(SYS_mmap, 0, bytes, 3 /* PROT_READ|PROT_WRITE */, 0x22 /* MAP_PRIVATE|MAP_ANONYMOUS */, -1, 0);
  return p < 0 && p > -4096 ? NULL : (void *)p;
}

static inline void unmap_pages(void *p, size_t bytes) {
  if (p) sys2(SYS_munmap, p, bytes);
}

#endif
