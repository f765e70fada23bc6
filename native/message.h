/* Messages over unix sockets, with descriptors (SCM_RIGHTS in unix(7)) and to addresses. -errno for failures. */
#ifndef MILLRACE_MESSAGE_H
#define MILLRACE_MESSAGE_H

#include "abi.h"

enum { MOST_RIGHTS = 253 }; /* SCM_MAX_FD of the kernel, of one sendmsg(2) */

/* What fits without waiting. The descriptors go with the first byte, so there has to be one. */
s32 message_send(s32 fd, const u8 *bytes, size_t length, const s32 *rights, size_t count, const u8 *address,
                 size_t address_length);
/* Fills `rights` with `*count` descriptors, close-on-exec; `*is_lost`: there were others, which the kernel has closed. */
s32 message_receive(s32 fd, u8 *bytes, size_t length, s32 rights[MOST_RIGHTS], s32 *count, s32 *is_lost);

#endif
