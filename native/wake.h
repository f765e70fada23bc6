/* Where a ring meets Node's loop. See wake.c. */
#ifndef MILLRACE_WAKE_H
#define MILLRACE_WAKE_H

#include <node_api.h>

#include "ring.h"

enum { MAX_ALLOCATIONS = 64 };

struct wake {
  struct ring ring;
  struct control *control;
  napi_env env;
  napi_ref on_turn, on_flush; /* () => void, both in src/engine/turn.ts */
  napi_async_context context;
  void *poll, *prepare;       /* uv_poll_t and uv_prepare_t, sized at run time */
  u32 open_handles;           /* of the two */
  bool is_closing;
  u32 allocations;            /* memory that TypeScript asked for: buffers, arena */
  struct { void *pages; size_t bytes; } allocated[MAX_ALLOCATIONS];
  void (*on_closed)(struct wake *wake);
};

/* Puts the ring into the loop of wake->env; 0 or -errno. Holds nothing alive until wake_ref. */
int wake_start(struct wake *wake);
void wake_ref(struct wake *wake, bool alive);
/* Takes the ring out of the loop; on_closed comes when libuv has let go of both handles. */
void wake_stop(struct wake *wake);

#endif
