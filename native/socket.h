/* The few socket calls that do not go through a ring, because their answer is needed at once. -errno for failures. */
#ifndef MILLRACE_SOCKET_H
#define MILLRACE_SOCKET_H

#include "abi.h"

s32 socket_open(s32 domain, s32 type, s32 protocol); /* close-on-exec */
s32 socket_pair(s32 type, s32 pair[2]);
s32 socket_bind(s32 fd, const u8 *address, size_t length);
s32 socket_connect(s32 fd, const u8 *address, size_t length);
s32 socket_listen(s32 fd, s32 backlog);
s32 socket_name(s32 fd, bool peer, u8 *out, size_t length);
s32 socket_set_option(s32 fd, s32 level, s32 name, const u8 *value, size_t length);
s32 socket_get_option(s32 fd, s32 level, s32 name, u8 *out, size_t length);
s32 socket_send(s32 fd, const u8 *bytes, size_t length); /* what fits without waiting */
s32 socket_flags(s32 fd); /* fcntl(2) F_GETFL */
s32 socket_set_blocking(s32 fd, bool blocking);
s32 socket_duplicate(s32 fd); /* close-on-exec */
s32 socket_accept(s32 fd, s32 flags);
s32 socket_unread(s32 fd); /* bytes that the kernel holds for the next receive */
s32 socket_shutdown(s32 fd, s32 how);
s32 socket_close(s32 fd);

#endif
