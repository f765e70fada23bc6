/* sendmsg(2) and recvmsg(2), for what send and recv can't do: descriptors in a control message (cmsg(3)), and an address for
 * a datagram. */
#include "message.h"

#include "sys.h"

enum { SCM_RIGHTS_ = 1, MSG_CTRUNC_ = 0x8, MSG_CMSG_CLOEXEC_ = 0x40000000 };

/* struct iovec, struct msghdr and struct cmsghdr on 64-bit machines. */
struct piece {
  u8 *bytes;
  size_t length;
};
struct header {
  const u8 *name;
  u32 name_length;
  struct piece *pieces;
  size_t piece_count;
  void *control;
  size_t control_length;
  u32 flags;
};
struct control_header {
  size_t length; /* with this header */
  s32 level, type;
};

/* Room for all descriptors that one message can have, behind one header; what else a socket may have been told to send
 * along is not asked for here, and cut off. */
struct rights {
  struct control_header header;
  s32 descriptors[MOST_RIGHTS];
};

/* CMSG_ALIGN(3) */
static size_t aligned(size_t length) { return (length + 7) & ~(size_t)7; }

s32 message_send(s32 fd, const u8 *bytes, size_t length, const s32 *rights, size_t count, const u8 *address,
                 size_t address_length) {
  struct piece piece = { (u8 *)(uintptr_t)bytes, length };
  struct header message = { .pieces = &piece, .piece_count = 1 };
  struct rights control;
  if (address_length) {
    message.name = address;
    message.name_length = (u32)address_length;
  }
  if (count > MOST_RIGHTS) return -E_INVAL;
  if (count) {
    control.header = (struct control_header){ sizeof control.header + count * sizeof *rights, SOL_SOCKET_, SCM_RIGHTS_ };
    __builtin_memcpy(control.descriptors, rights, count * sizeof *rights);
    message.control = &control;
    message.control_length = control.header.length;
  }
  return (s32)sys3(SYS_sendmsg, fd, &message, MSG_DONTWAIT_ | MSG_NOSIGNAL_);
}

s32 message_receive(s32 fd, u8 *bytes, size_t length, s32 rights[MOST_RIGHTS], s32 *count, s32 *is_lost) {
  struct piece piece = { bytes, length };
  struct rights control;
  struct header message = {
    .pieces = &piece, .piece_count = 1, .control = &control,
    .control_length = sizeof control.header + sizeof control.descriptors
  };
  *count = 0;
  *is_lost = 0;
  long received = sys3(SYS_recvmsg, fd, &message, MSG_DONTWAIT_ | MSG_CMSG_CLOEXEC_);
  if (received < 0) return (s32)received;
  /* recvmsg(2): the buffer was too small, or the process had no descriptor left for all of them. */
  *is_lost = (message.flags & MSG_CTRUNC_) != 0;
  size_t at = 0;
  while (at + sizeof(struct control_header) <= message.control_length) {
    const struct control_header *header = (const void *)((const u8 *)&control + at);
    if (header->length < sizeof *header || header->length > message.control_length - at) break;
    if (header->level == SOL_SOCKET_ && header->type == SCM_RIGHTS_) {
      size_t bytes_of = header->length - sizeof *header;
      __builtin_memcpy(rights + *count, header + 1, bytes_of);
      *count += (s32)(bytes_of / sizeof *rights);
    }
    at += aligned(header->length);
  }
  return (s32)received;
}
