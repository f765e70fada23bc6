/* The few socket calls that do not go through a ring. Addresses are the kernel's sockaddr bytes: TypeScript writes and
 * reads them (src/net/address.ts), so that no text is parsed in C. */
#include "socket.h"

#include "sys.h"

enum { FIONREAD_ = 0x541b }; /* ioctl_tty(2), unix(7), tcp(7): SIOCINQ */
enum { F_DUPFD_CLOEXEC_ = 1030, F_GETFL_ = 3, F_SETFL_ = 4, O_NONBLOCK_ = 04000 };

s32 socket_open(s32 domain, s32 type, s32 protocol) {
  return (s32)sys3(SYS_socket, domain, type | SOCK_CLOEXEC_, protocol);
}

s32 socket_pair(s32 type, s32 pair[2]) { return (s32)sys4(SYS_socketpair, AF_UNIX_, type | SOCK_CLOEXEC_, 0, pair); }

s32 socket_bind(s32 fd, const u8 *address, size_t length) { return (s32)sys3(SYS_bind, fd, address, length); }

s32 socket_connect(s32 fd, const u8 *address, size_t length) { return (s32)sys3(SYS_connect, fd, address, length); }

s32 socket_listen(s32 fd, s32 backlog) { return (s32)sys2(SYS_listen, fd, backlog); }

s32 socket_name(s32 fd, bool peer, u8 *out, size_t length) {
  s32 bytes = (s32)length;
  long err = sys3(peer ? SYS_getpeername : SYS_getsockname, fd, out, &bytes);
  return err < 0 ? (s32)err : bytes;
}

s32 socket_set_option(s32 fd, s32 level, s32 name, const u8 *value, size_t length) {
  return (s32)sys5(SYS_setsockopt, fd, level, name, value, length);
}

s32 socket_get_option(s32 fd, s32 level, s32 name, u8 *out, size_t length) {
  s32 bytes = (s32)length;
  long err = sys5(SYS_getsockopt, fd, level, name, out, &bytes);
  return err < 0 ? (s32)err : bytes;
}

s32 socket_send(s32 fd, const u8 *bytes, size_t length) {
  return (s32)sys6(SYS_sendto, fd, bytes, length, MSG_DONTWAIT_ | MSG_NOSIGNAL_, 0, 0);
}

s32 socket_flags(s32 fd) { return (s32)sys2(SYS_fcntl, fd, F_GETFL_); }

s32 socket_set_blocking(s32 fd, bool blocking) {
  long flags = sys2(SYS_fcntl, fd, F_GETFL_);
  if (flags < 0) return (s32)flags;
  if (blocking == !(flags & O_NONBLOCK_)) return 0;
  return (s32)sys3(SYS_fcntl, fd, F_SETFL_, blocking ? flags & ~O_NONBLOCK_ : flags | O_NONBLOCK_);
}

s32 socket_duplicate(s32 fd) { return (s32)sys3(SYS_fcntl, fd, F_DUPFD_CLOEXEC_, 0); }

s32 socket_accept(s32 fd, s32 flags) { return (s32)sys4(SYS_accept4, fd, 0, 0, flags | SOCK_CLOEXEC_); }

s32 socket_unread(s32 fd) {
  s32 bytes = 0;
  long err = sys3(SYS_ioctl, fd, FIONREAD_, &bytes);
  return err < 0 ? (s32)err : bytes;
}

s32 socket_shutdown(s32 fd, s32 how) { return (s32)sys2(SYS_shutdown, fd, how); }

s32 socket_close(s32 fd) { return (s32)sys1(SYS_close, fd); }
