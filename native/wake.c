/* The wake-up of Node's loop: a uv_poll on the ring's descriptor calls TypeScript when completions wait, and a
 * uv_prepare hands over what was queued outside of a turn (timers, promises) before the loop blocks.
 *
 * libuv's functions are declared by hand and handles are sized by uv_handle_size(): a user's machine has no uv.h, and
 * one binary has to serve every Node line.
 */
#include "wake.h"

#include "sys.h"

struct uv_loop_s;
size_t uv_handle_size(int type);
int uv_poll_init(struct uv_loop_s *loop, void *handle, int fd);
int uv_poll_start(void *handle, int events, void (*cb)(void *handle, int status, int events));
int uv_prepare_init(struct uv_loop_s *loop, void *handle);
int uv_prepare_start(void *handle, void (*cb)(void *handle));
void uv_close(void *handle, void (*cb)(void *handle));
void uv_ref(void *handle);
void uv_unref(void *handle);
void *uv_handle_get_data(const void *handle);
void uv_handle_set_data(void *handle, void *data);
enum { MOST_FLUSHES = 16 };
enum { UV_POLL_ = 8, UV_PREPARE_ = 9, UV_READABLE_ = 1 }; /* enum uv_handle_type, uv_poll_event: part of libuv's ABI */

/* Calls TypeScript, which only schedules its work as a tick (src/engine/turn.ts): the ticks run when the scope closes,
 * and an exception in a user's listener is then reported by Node itself, as for its own sockets, with the place where it
 * was thrown. If the process survives it, the turn goes on with the next completion. */
static void call(struct wake *wake, napi_ref ref) {
  napi_env env = wake->env;
  napi_handle_scope handles;
  napi_callback_scope callback;
  if (napi_open_handle_scope(env, &handles) != napi_ok) return;
  napi_value fn, global;
  napi_get_reference_value(env, ref, &fn);
  napi_get_global(env, &global);
  if (napi_open_callback_scope(env, global, wake->context, &callback) == napi_ok) {
    napi_call_function(env, global, fn, 0, NULL, NULL);
    napi_close_callback_scope(env, callback);
  }
  napi_close_handle_scope(env, handles);
}

static void on_readable(void *handle, int status, int events) {
  (void)status;
  (void)events;
  struct wake *wake = uv_handle_get_data(handle);
  if (wake->is_closing) return;
  wake->ring.engine->collect(&wake->ring);
  wake->control->is_draining = 1;
  /* Still draining afterwards: an exception ended the turn, and was survived. A call that has read nothing was none:
   * a Worker that is being terminated runs no TypeScript any more, and this would never end. */
  const u32 *head = ring_word(&wake->ring, wake->ring.layout.cq_head);
  u32 before;
  do {
    before = *head;
    call(wake, wake->on_turn);
  } while (!wake->is_closing && wake->control->is_draining && *head != before);
}

static void on_prepare(void *handle) {
  struct wake *wake = uv_handle_get_data(handle);
  if (wake->is_closing) return;
  /* Listeners may run in the ticks behind a flush and write again, and nothing else would wake the loop for that. Not
   * for ever: a Worker that is being terminated runs no TypeScript, and leaves its wish standing. */
  for (int i = 0; i < MOST_FLUSHES && wake->control->wants_flush && !wake->is_closing; i++) call(wake, wake->on_flush);
  if (wake->is_closing) return;
  if (ring_unsubmitted(&wake->ring)) wake->ring.engine->enter(&wake->ring, 0);
  wake->ring.engine->before_block(&wake->ring);
}

int wake_start(struct wake *wake) {
  struct uv_loop_s *loop;
  napi_value name, global;
  size_t poll_size = uv_handle_size(UV_POLL_), prepare_size = uv_handle_size(UV_PREPARE_);
  if (napi_get_uv_event_loop(wake->env, &loop) != napi_ok) return -E_INVAL;
  u8 *handles = map_pages(poll_size + prepare_size);
  if (!handles) return -E_NOMEM;
  int err = uv_poll_init(loop, handles, wake->ring.fd);
  if (err) {
    unmap_pages(handles, poll_size + prepare_size);
    return err;
  }
  napi_get_global(wake->env, &global);
  napi_create_string_utf8(wake->env, "MILLRACE", NAPI_AUTO_LENGTH, &name);
  napi_async_init(wake->env, global, name, &wake->context);
  wake->poll = handles;
  wake->prepare = handles + poll_size;
  uv_prepare_init(loop, wake->prepare);
  uv_handle_set_data(wake->poll, wake);
  uv_handle_set_data(wake->prepare, wake);
  uv_poll_start(wake->poll, UV_READABLE_, on_readable);
  uv_prepare_start(wake->prepare, on_prepare);
  uv_unref(wake->poll);
  uv_unref(wake->prepare);
  wake->open_handles = 2;
  return 0;
}

void wake_ref(struct wake *wake, bool alive) {
  if (wake->is_closing) return;
  if (alive) uv_ref(wake->poll);
  else uv_unref(wake->poll);
}

static void on_handle_closed(void *handle) {
  struct wake *wake = uv_handle_get_data(handle);
  if (--wake->open_handles) return;
  unmap_pages(wake->poll, uv_handle_size(UV_POLL_) + uv_handle_size(UV_PREPARE_));
  wake->poll = wake->prepare = NULL;
  wake->on_closed(wake);
}

void wake_stop(struct wake *wake) {
  wake->is_closing = true;
  napi_async_destroy(wake->env, wake->context);
  uv_close(wake->poll, on_handle_closed);
  uv_close(wake->prepare, on_handle_closed);
}
