/* What TypeScript can call: argument checks here, work in the other files. No policy, no strings, -errno for failures;
 * src/engine/native.ts is the typed other half. All state hangs on the N-API environment, so each Worker has its own.
 */
#include <node_api.h>

#include "message.h"
#include "ring.h"
#include "socket.h"
#include "sys.h"
#include "wake.h"

enum { MAX_SEND = 0x7ffff000 }; /* of one send(2): MAX_RW_COUNT of the kernel */
enum { MAX_RINGS = 8 }; /* one in use; tests open several side by side */

struct instance {
  napi_async_cleanup_hook_handle hook;
  u32 rings_open;
  bool is_ending;
  struct wake *rings[MAX_RINGS];
};

#define ARGUMENTS(count)                                                                   \
  napi_value args[count];                                                                  \
  size_t argc = count;                                                                     \
  if (napi_get_cb_info(env, info, &argc, args, NULL, NULL) != napi_ok || argc < count)     \
    return number(env, -E_INVAL)

static napi_value number(napi_env env, double value) {
  napi_value result = NULL;
  napi_create_double(env, value, &result);
  return result;
}

static napi_value integer(napi_env env, s32 value) {
  napi_value result = NULL;
  napi_create_int32(env, value, &result);
  return result;
}

static bool get_int(napi_env env, napi_value value, s32 *out) { return napi_get_value_int32(env, value, out) == napi_ok; }

/* The bytes behind a Uint8Array or Buffer. */
static bool get_bytes(napi_env env, napi_value value, u8 **data, size_t *length) {
  napi_typedarray_type type;
  return napi_get_typedarray_info(env, value, &type, length, (void **)data, NULL, NULL) == napi_ok &&
         (type == napi_uint8_array || type == napi_uint8_clamped_array);
}

/* The numbers behind an Int32Array. */
static bool get_ints(napi_env env, napi_value value, s32 **data, size_t *count) {
  napi_typedarray_type type;
  return napi_get_typedarray_info(env, value, &type, count, (void **)data, NULL, NULL) == napi_ok &&
         type == napi_int32_array;
}

static struct instance *get_instance(napi_env env) {
  void *data = NULL;
  napi_get_instance_data(env, &data);
  return data;
}

static struct wake *get_ring(napi_env env, napi_value value) {
  s32 id;
  if (!get_int(env, value, &id) || id < 0 || id >= MAX_RINGS) return NULL;
  return get_instance(env)->rings[id];
}

static napi_value array_buffer(napi_env env, void *data, size_t bytes) {
  napi_value buffer = NULL; /* refused where V8 keeps all memory in one cage: the caller falls back */
  return napi_create_external_arraybuffer(env, data, bytes, NULL, NULL, &buffer) == napi_ok ? buffer : NULL;
}

/* ---- the life of a ring ---- */

/* Connections that were accepted and that TypeScript never saw. */
static void close_accepted(struct ring *ring) {
  struct cqe *cqes = (struct cqe *)(void *)(ring->memory + ring->layout.cqes);
  u32 mask = *ring_word(ring, ring->layout.cq_mask), *head = ring_word(ring, ring->layout.cq_head);
  while (ring_unread(ring)) {
    struct cqe c = cqes[*head & mask];
    __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
    if (((c.user_data >> USER_OP_SHIFT) & 0xff) == USER_OP_ACCEPT && c.res >= 0) sys1(SYS_close, c.res);
    if (!ring_unread(ring)) ring->engine->enter(ring, ENTER_GETEVENTS); /* a backlog behind the full queue moves over */
  }
}

static void close_slots(struct control *control) {
  for (u32 i = 0; i < control->slots_used && i < MAX_SLOTS; i++) {
    if (control->slot_fd[i] > 0) sys1(SYS_close, control->slot_fd[i] - 1);
  }
  control->slots_used = 0;
}

static void on_ring_closed(struct wake *wake) {
  struct instance *instance = get_instance(wake->env);
  wake->ring.engine->close(&wake->ring);
  for (u32 i = 0; i < wake->allocations; i++) unmap_pages(wake->allocated[i].pages, wake->allocated[i].bytes);
  unmap_pages(wake->control, sizeof *wake->control);
  for (u32 i = 0; i < MAX_RINGS; i++) {
    if (instance->rings[i] == wake) instance->rings[i] = NULL;
  }
  unmap_pages(wake, sizeof *wake);
  instance->rings_open--;
  if (instance->is_ending && !instance->rings_open) napi_remove_async_cleanup_hook(instance->hook);
}

static void stop_ring(napi_env env, struct wake *wake) {
  if (wake->is_closing) return;
  /* What was written before an exit goes out, as it would have from Node's own sockets. */
  if (ring_unsubmitted(&wake->ring)) wake->ring.engine->enter(&wake->ring, 0);
  wake->ring.engine->cancel_all(&wake->ring);
  close_accepted(&wake->ring);
  close_slots(wake->control);
  napi_delete_reference(env, wake->on_turn);
  napi_delete_reference(env, wake->on_flush);
  wake_stop(wake);
}

/* A Worker that is terminated, or the process that ends: the kernel must not touch memory that goes away now. */
static void on_env_cleanup(napi_async_cleanup_hook_handle hook, void *data) {
  struct instance *instance = data;
  instance->is_ending = true;
  instance->hook = hook;
  if (!instance->rings_open) {
    napi_remove_async_cleanup_hook(hook);
    return;
  }
  for (u32 i = 0; i < MAX_RINGS; i++) {
    if (instance->rings[i]) stop_ring(instance->rings[i]->env, instance->rings[i]);
  }
}

/* open(kind, sqEntries, cqEntries, onTurn, onFlush, out: [memory, sqes, control, ...layout]) -> ring id or -errno */
static napi_value Open(napi_env env, napi_callback_info info) {
  ARGUMENTS(6);
  struct instance *instance = get_instance(env);
  s32 kind, sq_entries, cq_entries, id = 0;
  if (!get_int(env, args[0], &kind) || !get_int(env, args[1], &sq_entries) || !get_int(env, args[2], &cq_entries))
    return integer(env, -E_INVAL);
  if (sq_entries < 1 || cq_entries < sq_entries || (cq_entries & (cq_entries - 1))) return integer(env, -E_INVAL);
  while (id < MAX_RINGS && instance->rings[id]) id++;
  if (id == MAX_RINGS || instance->is_ending) return integer(env, -E_MFILE);

  struct wake *wake = map_pages(sizeof *wake);
  if (!wake) return integer(env, -E_NOMEM);
  int err = -E_NOMEM;
  wake->env = env;
  wake->on_closed = on_ring_closed;
  wake->ring.fd = -1;
  wake->ring.engine = kind == 1 ? &uring_engine : &epoll_engine;
  wake->control = map_pages(sizeof *wake->control);
  if (!wake->control) goto fail;
  err = wake->ring.engine->open(&wake->ring, (u32)sq_entries, (u32)cq_entries);
  if (err) goto fail;

  err = -E_INVAL;
  napi_value memory = array_buffer(env, wake->ring.memory, wake->ring.memory_size);
  napi_value sqes = array_buffer(env, wake->ring.sqes, wake->ring.sqes_size);
  napi_value control = array_buffer(env, wake->control, sizeof *wake->control);
  if (!memory || !sqes || !control) goto fail_ring;
  if (napi_create_reference(env, args[3], 1, &wake->on_turn) != napi_ok) goto fail_ring;
  if (napi_create_reference(env, args[4], 1, &wake->on_flush) != napi_ok) goto fail_ring;
  napi_set_element(env, args[5], 0, memory);
  napi_set_element(env, args[5], 1, sqes);
  napi_set_element(env, args[5], 2, control);
  const u32 *words = (const u32 *)&wake->ring.layout;
  for (u32 i = 0; i < sizeof(struct layout) / sizeof(u32); i++) {
    napi_value word;
    napi_create_uint32(env, words[i], &word);
    napi_set_element(env, args[5], 3 + i, word);
  }
  err = wake_start(wake);
  if (err) goto fail_ring;
  instance->rings[id] = wake;
  instance->rings_open++;
  return integer(env, id);

fail_ring:
  if (wake->on_turn) napi_delete_reference(env, wake->on_turn);
  if (wake->on_flush) napi_delete_reference(env, wake->on_flush);
  wake->ring.engine->close(&wake->ring);
fail:
  unmap_pages(wake->control, sizeof *wake->control);
  unmap_pages(wake, sizeof *wake);
  return integer(env, err);
}

static napi_value Close(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  struct wake *wake = get_ring(env, args[0]);
  if (!wake) return integer(env, -E_INVAL);
  stop_ring(env, wake);
  return integer(env, 0);
}

/* enter(ring, flags) -> submissions taken or -errno */
static napi_value Enter(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  struct wake *wake = get_ring(env, args[0]);
  s32 flags;
  if (!wake || wake->is_closing || !get_int(env, args[1], &flags)) return integer(env, -E_INVAL);
  return integer(env, wake->ring.engine->enter(&wake->ring, (u32)flags));
}

/* collect(ring): what the loop does before a turn, for callers that drain by themselves (tests) */
static napi_value Collect(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  struct wake *wake = get_ring(env, args[0]);
  if (!wake || wake->is_closing) return integer(env, -E_INVAL);
  wake->ring.engine->collect(&wake->ring);
  return integer(env, 0);
}

/* ref(ring, alive) */
static napi_value Ref(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  struct wake *wake = get_ring(env, args[0]);
  bool alive;
  if (!wake || napi_get_value_bool(env, args[1], &alive) != napi_ok) return integer(env, -E_INVAL);
  wake_ref(wake, alive);
  return integer(env, 0);
}

/* registerBuffers(ring, memory: Uint8Array from allocate(), entries, group) -> 0 or -errno */
static napi_value RegisterBuffers(napi_env env, napi_callback_info info) {
  ARGUMENTS(4);
  struct wake *wake = get_ring(env, args[0]);
  u8 *bytes;
  size_t length;
  s32 entries, group;
  if (!wake || wake->is_closing || !get_bytes(env, args[1], &bytes, &length) || !get_int(env, args[2], &entries) ||
      !get_int(env, args[3], &group) || entries < 1 || (entries & (entries - 1)) || group < 0 ||
      length < (size_t)entries * sizeof(struct buf) || ((uintptr_t)bytes & 4095))
    return integer(env, -E_INVAL);
  return integer(env, wake->ring.engine->register_buffers(&wake->ring, (struct buf *)(void *)bytes, (u32)entries, (u16)group));
}

/* ---- memory ---- */

/* allocate(ring, bytes, shown) -> ArrayBuffer of the first `shown` bytes of zeroed pages that live as long as the ring, or
 * -errno. V8 takes all that it is shown for memory in use, and collects garbage on its account. */
static napi_value Allocate(napi_env env, napi_callback_info info) {
  ARGUMENTS(3);
  struct wake *wake = get_ring(env, args[0]);
  s32 bytes, shown;
  if (!wake || wake->is_closing || !get_int(env, args[1], &bytes) || !get_int(env, args[2], &shown) || shown < 1 ||
      shown > bytes)
    return integer(env, -E_INVAL);
  if (wake->allocations == MAX_ALLOCATIONS) return integer(env, -E_NOMEM);
  void *pages = map_pages((size_t)bytes);
  if (!pages) return integer(env, -E_NOMEM);
  napi_value buffer = array_buffer(env, pages, (size_t)shown);
  if (!buffer) {
    unmap_pages(pages, (size_t)bytes);
    return integer(env, -E_NOMEM);
  }
  wake->allocated[wake->allocations].pages = pages;
  wake->allocated[wake->allocations++].bytes = (size_t)bytes;
  return buffer;
}

/* show(ring, memory: Uint8Array at the start of what allocate() gave, shown) -> ArrayBuffer of more of it, or -errno */
static napi_value Show(napi_env env, napi_callback_info info) {
  ARGUMENTS(3);
  struct wake *wake = get_ring(env, args[0]);
  u8 *bytes;
  size_t length;
  s32 shown;
  if (!wake || wake->is_closing || !get_bytes(env, args[1], &bytes, &length) || !get_int(env, args[2], &shown) || shown < 1)
    return integer(env, -E_INVAL);
  for (u32 i = 0; i < wake->allocations; i++) {
    if (wake->allocated[i].pages != bytes || wake->allocated[i].bytes < (size_t)shown) continue;
    napi_value buffer = array_buffer(env, bytes, (size_t)shown);
    return buffer ? buffer : integer(env, -E_NOMEM);
  }
  return integer(env, -E_INVAL);
}

/* address(view: Uint8Array) -> its first byte's address, exact in a double (48-bit address spaces) */
static napi_value Address(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  u8 *bytes;
  size_t length;
  if (!get_bytes(env, args[0], &bytes, &length)) return integer(env, -E_INVAL);
  return number(env, (double)(uintptr_t)bytes);
}

/* ---- synchronous socket calls: see socket.c ---- */

static napi_value Socket(napi_env env, napi_callback_info info) {
  ARGUMENTS(3);
  s32 domain, type, protocol;
  if (!get_int(env, args[0], &domain) || !get_int(env, args[1], &type) || !get_int(env, args[2], &protocol))
    return integer(env, -E_INVAL);
  return integer(env, socket_open(domain, type, protocol));
}

static napi_value SocketPair(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  s32 type, pair[2];
  if (!get_int(env, args[0], &type)) return integer(env, -E_INVAL);
  s32 err = socket_pair(type, pair);
  if (err) return integer(env, err);
  napi_value result;
  napi_create_array_with_length(env, 2, &result);
  napi_set_element(env, result, 0, integer(env, pair[0]));
  napi_set_element(env, result, 1, integer(env, pair[1]));
  return result;
}

/* sendMessage(fd, bytes, descriptors: Int32Array, address: Uint8Array, empty for a connected socket) -> bytes taken or
 * -errno, without waiting */
static napi_value SendMessage(napi_env env, napi_callback_info info) {
  ARGUMENTS(4);
  s32 fd, *rights;
  u8 *bytes, *address;
  size_t length, count, address_length;
  if (!get_int(env, args[0], &fd) || !get_bytes(env, args[1], &bytes, &length) ||
      !get_ints(env, args[2], &rights, &count) || count > MOST_RIGHTS ||
      !get_bytes(env, args[3], &address, &address_length))
    return integer(env, -E_INVAL);
  if (length > MAX_SEND) length = MAX_SEND;
  return integer(env, message_send(fd, bytes, length, rights, count, address, address_length));
}

/* receiveMessage(fd, bytes, out: Int32Array of 2 + MOST_RIGHTS) -> bytes received or -errno, without waiting. out: how many
 * descriptors came, 1 if others were lost, the descriptors */
static napi_value ReceiveMessage(napi_env env, napi_callback_info info) {
  ARGUMENTS(3);
  s32 fd, *out;
  u8 *bytes;
  size_t length, count;
  if (!get_int(env, args[0], &fd) || !get_bytes(env, args[1], &bytes, &length) || !get_ints(env, args[2], &out, &count) ||
      count < 2 + MOST_RIGHTS)
    return integer(env, -E_INVAL);
  if (length > MAX_SEND) length = MAX_SEND;
  return integer(env, message_receive(fd, bytes, length, out + 2, &out[0], &out[1]));
}

static napi_value Bind(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  s32 fd;
  u8 *address;
  size_t length;
  if (!get_int(env, args[0], &fd) || !get_bytes(env, args[1], &address, &length)) return integer(env, -E_INVAL);
  return integer(env, socket_bind(fd, address, length));
}

static napi_value Connect(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  s32 fd;
  u8 *address;
  size_t length;
  if (!get_int(env, args[0], &fd) || !get_bytes(env, args[1], &address, &length)) return integer(env, -E_INVAL);
  return integer(env, socket_connect(fd, address, length));
}

static napi_value Listen(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  s32 fd, backlog;
  if (!get_int(env, args[0], &fd) || !get_int(env, args[1], &backlog)) return integer(env, -E_INVAL);
  return integer(env, socket_listen(fd, backlog));
}

/* accept(fd, flags) -> a descriptor, close-on-exec, or -errno */
static napi_value Accept(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  s32 fd, flags;
  if (!get_int(env, args[0], &fd) || !get_int(env, args[1], &flags)) return integer(env, -E_INVAL);
  return integer(env, socket_accept(fd, flags));
}

/* unread(fd) -> bytes that wait in the kernel or -errno */
static napi_value Unread(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  s32 fd;
  if (!get_int(env, args[0], &fd)) return integer(env, -E_INVAL);
  return integer(env, socket_unread(fd));
}

/* name(fd, peer: boolean, out: Uint8Array) -> length of the address or -errno */
static napi_value Name(napi_env env, napi_callback_info info) {
  ARGUMENTS(3);
  s32 fd;
  bool peer;
  u8 *out;
  size_t length;
  if (!get_int(env, args[0], &fd) || napi_get_value_bool(env, args[1], &peer) != napi_ok ||
      !get_bytes(env, args[2], &out, &length))
    return integer(env, -E_INVAL);
  return integer(env, socket_name(fd, peer, out, length));
}

/* shutdown(fd, how) -> 0 or -errno */
static napi_value Shutdown(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  s32 fd, how;
  if (!get_int(env, args[0], &fd) || !get_int(env, args[1], &how)) return integer(env, -E_INVAL);
  return integer(env, socket_shutdown(fd, how));
}

static napi_value SetOption(napi_env env, napi_callback_info info) {
  ARGUMENTS(4);
  s32 fd, level, name;
  u8 *value;
  size_t length;
  if (!get_int(env, args[0], &fd) || !get_int(env, args[1], &level) || !get_int(env, args[2], &name) ||
      !get_bytes(env, args[3], &value, &length))
    return integer(env, -E_INVAL);
  return integer(env, socket_set_option(fd, level, name, value, length));
}

/* getOption(fd, level, name, out) -> bytes written to out or -errno */
static napi_value GetOption(napi_env env, napi_callback_info info) {
  ARGUMENTS(4);
  s32 fd, level, name;
  u8 *out;
  size_t length;
  if (!get_int(env, args[0], &fd) || !get_int(env, args[1], &level) || !get_int(env, args[2], &name) ||
      !get_bytes(env, args[3], &out, &length))
    return integer(env, -E_INVAL);
  return integer(env, socket_get_option(fd, level, name, out, length));
}

/* send(fd, bytes) -> bytes taken or -errno, without waiting */
static napi_value Send(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  s32 fd;
  u8 *bytes;
  size_t length;
  if (!get_int(env, args[0], &fd) || !get_bytes(env, args[1], &bytes, &length)) return integer(env, -E_INVAL);
  return integer(env, socket_send(fd, bytes, length < MAX_SEND ? length : MAX_SEND));
}

/* flags(fd) -> O_* or -errno */
static napi_value Flags(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  s32 fd;
  if (!get_int(env, args[0], &fd)) return integer(env, -E_INVAL);
  return integer(env, socket_flags(fd));
}

/* setBlocking(fd, blocking) -> 0 or -errno */
static napi_value SetBlocking(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  s32 fd;
  bool blocking;
  if (!get_int(env, args[0], &fd) || napi_get_value_bool(env, args[1], &blocking) != napi_ok) return integer(env, -E_INVAL);
  return integer(env, socket_set_blocking(fd, blocking));
}

static napi_value Duplicate(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  s32 fd;
  if (!get_int(env, args[0], &fd)) return integer(env, -E_INVAL);
  return integer(env, socket_duplicate(fd));
}

static napi_value CloseDescriptor(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  s32 fd;
  if (!get_int(env, args[0], &fd)) return integer(env, -E_INVAL);
  return integer(env, socket_close(fd));
}

static void free_instance(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  unmap_pages(data, sizeof(struct instance));
}

NAPI_MODULE_INIT(/* env, exports */) {
  struct instance *instance = map_pages(sizeof *instance);
  if (!instance) return NULL;
  napi_set_instance_data(env, instance, free_instance, NULL);
  napi_add_async_cleanup_hook(env, on_env_cleanup, instance, &instance->hook);
  static const struct { const char *name; napi_callback call; } table[] = {
    { "open", Open }, { "close", Close }, { "enter", Enter }, { "collect", Collect }, { "ref", Ref },
    { "registerBuffers", RegisterBuffers }, { "allocate", Allocate }, { "show", Show },
    { "address", Address },
    { "socket", Socket }, { "socketPair", SocketPair }, { "bind", Bind }, { "connect", Connect }, { "listen", Listen }, { "accept", Accept },
    { "sendMessage", SendMessage }, { "receiveMessage", ReceiveMessage },
    { "name", Name }, { "unread", Unread },
    { "shutdown", Shutdown },
    { "setOption", SetOption }, { "getOption", GetOption }, { "send", Send }, { "flags", Flags },
    { "setBlocking", SetBlocking },
    { "duplicate", Duplicate }, { "closeDescriptor", CloseDescriptor },
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    napi_value fn;
    napi_create_function(env, table[i].name, NAPI_AUTO_LENGTH, table[i].call, NULL, &fn);
    napi_set_named_property(env, exports, table[i].name, fn);
  }
  return exports;
}
