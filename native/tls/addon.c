/* What TypeScript can call: argument checks here, work in the other files; src/tls/native.ts is the typed other half. No
 * call throws. A connection or context that is over is refused; one that nobody holds any more frees itself.
 */
#include <node_api.h>

#include "inspect.h"
#include "tls.h"

enum { KIND_CONTEXT = 0x7c0e, KIND_CONNECTION = 0x7c0f };
enum { CONSUMED = 0, PLAIN, ENCRYPTED, SPILLED, STATUS_WORDS };

struct instance {
  const BIO_METHOD *method;
  struct failure failure;
  napi_ref scratch[3]; /* keeps the memory below alive */
  u8 *plain, *encrypted;
  size_t plain_room, encrypted_room;
  s32 *status;
};

struct held {
  u32 kind;
  void *thing;
};

/* Names that this process's OpenSSL lacks; of the declarations in openssl.h. */
static const char *missing(void) {
  static const struct { const char *name; const void *address; } functions[] = {
#define ENTRY(type, name, arguments) { #name, (const void *)name },
    OPENSSL_FUNCTIONS(ENTRY)
#undef ENTRY
  };
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    if (!functions[i].address) return functions[i].name;
  }
  return NULL;
}

#define ARGUMENTS(count)                                                                   \
  napi_value args[count];                                                                  \
  size_t argc = count;                                                                     \
  if (napi_get_cb_info(env, info, &argc, args, NULL, NULL) != napi_ok || argc < count)     \
    return number(env, -1)

static napi_value number(napi_env env, double value) {
  napi_value result = NULL;
  napi_create_double(env, value, &result);
  return result;
}

static struct instance *get_instance(napi_env env) {
  void *data = NULL;
  napi_get_instance_data(env, &data);
  return data;
}

static bool get_bytes(napi_env env, napi_value value, struct bytes *out) {
  napi_typedarray_type type;
  return napi_get_typedarray_info(env, value, &type, &out->length, (void **)&out->data, NULL, NULL) == napi_ok &&
         type == napi_uint8_array;
}

static void *get_held(napi_env env, napi_value value, u32 kind) {
  struct held *held = NULL;
  if (napi_get_value_external(env, value, (void **)&held) != napi_ok || held->kind != kind) return NULL;
  return held->thing;
}

static struct connection *get_connection(napi_env env, napi_value value) {
  struct connection *c = get_held(env, value, KIND_CONNECTION);
  return c && c->ssl ? c : NULL;
}

static void on_collected(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  struct held *held = data;
  if (held->kind == KIND_CONTEXT) {
    context_close(held->thing);
  } else {
    connection_free(held->thing);
    release(held->thing);
  }
  release(held);
}

static napi_value hold(napi_env env, u32 kind, void *thing) {
  napi_value result = NULL;
  struct held *held = allocate(sizeof *held);
  if (held) {
    held->kind = kind;
    held->thing = thing;
    if (napi_create_external(env, held, on_collected, NULL, &result) == napi_ok) return result;
    release(held);
  }
  if (kind == KIND_CONTEXT) {
    context_close(thing);
  } else {
    connection_free(thing);
    release(thing);
  }
  return number(env, -1);
}

/* missing() -> the name of a function that this Node does not export, or undefined */
static napi_value Missing(napi_env env, napi_callback_info info) {
  (void)info;
  napi_value result;
  const char *name = missing();
  if (name) napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &result);
  else napi_get_undefined(env, &result);
  return result;
}

/* version() -> OPENSSL_VERSION_NUMBER of the library that runs */
static napi_value Version(napi_env env, napi_callback_info info) {
  (void)info;
  return number(env, OpenSSL_version_num ? (double)OpenSSL_version_num() : 0);
}

/* setUp(plain, encrypted, status): memory that calls of this thread write to. Only when nothing is missing. */
static napi_value SetUp(napi_env env, napi_callback_info info) {
  ARGUMENTS(3);
  struct instance *instance = get_instance(env);
  struct bytes plain, encrypted;
  napi_typedarray_type type;
  size_t words;
  if (missing() || instance->method || !get_bytes(env, args[0], &plain) || !get_bytes(env, args[1], &encrypted) ||
      napi_get_typedarray_info(env, args[2], &type, &words, (void **)&instance->status, NULL, NULL) != napi_ok ||
      type != napi_int32_array || words < STATUS_WORDS)
    return number(env, -1);
  for (u32 i = 0; i < 3; i++) {
    if (napi_create_reference(env, args[i], 1, &instance->scratch[i]) != napi_ok) return number(env, -1);
  }
  instance->plain = plain.data;
  instance->plain_room = plain.length;
  instance->encrypted = encrypted.data;
  instance->encrypted_room = encrypted.length;
  instance->method = connection_bio_method();
  return number(env, instance->method ? 0 : -1);
}

/* failure() -> [message, library, reason] of the last call on a context that failed; failure(connection): of its own */
static napi_value Failure(napi_env env, napi_callback_info info) {
  napi_value args[1];
  size_t argc = 1;
  napi_get_cb_info(env, info, &argc, args, NULL, NULL);
  struct connection *c = argc ? get_connection(env, args[0]) : NULL;
  return inspect_failure(env, c ? &c->failure : &get_instance(env)->failure);
}

static napi_value Context(napi_env env, napi_callback_info info) {
  ARGUMENTS(3);
  s32 min, max;
  double options;
  if (!get_instance(env)->method || napi_get_value_int32(env, args[0], &min) != napi_ok ||
      napi_get_value_int32(env, args[1], &max) != napi_ok || napi_get_value_double(env, args[2], &options) != napi_ok)
    return number(env, -1);
  struct context *context = context_open(min, max, (uint64_t)options);
  return context ? hold(env, KIND_CONTEXT, context) : number(env, -1);
}

/* set(context, setting, bytes with a zero behind them, length, passphrase with a zero | undefined, number) -> 0 or -1 */
static napi_value Set(napi_env env, napi_callback_info info) {
  ARGUMENTS(5);
  struct context *context = get_held(env, args[0], KIND_CONTEXT);
  s32 setting;
  struct bytes value, passphrase = { NULL, 0 };
  double with;
  if (!context || napi_get_value_int32(env, args[1], &setting) != napi_ok || !get_bytes(env, args[2], &value) ||
      !value.length || value.data[value.length - 1] || napi_get_value_double(env, args[4], &with) != napi_ok)
    return number(env, -1);
  value.length--;
  get_bytes(env, args[3], &passphrase);
  if (passphrase.length && passphrase.data[passphrase.length - 1]) return number(env, -1);
  if (context_set(context, setting, value, passphrase.length ? (char *)passphrase.data : NULL, with)) {
    ERR_clear_error();
    return number(env, 0);
  }
  failure_take(&get_instance(env)->failure);
  return number(env, -1);
}

static napi_value ShareRoots(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  struct context *context = get_held(env, args[0], KIND_CONTEXT), *roots = get_held(env, args[1], KIND_CONTEXT);
  if (!context || !roots) return number(env, -1);
  context_share_roots(context, roots);
  return number(env, 0);
}

/* contextBytes(context, 0 certificate | 1 issuer) -> Buffer or null */
static napi_value ContextBytes(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  struct context *context = get_held(env, args[0], KIND_CONTEXT);
  s32 which;
  if (!context || napi_get_value_int32(env, args[1], &which) != napi_ok) return number(env, -1);
  return inspect_bytes(env, which ? &context->issuer : &context->certificate);
}

static napi_value Open(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  struct context *context = get_held(env, args[0], KIND_CONTEXT);
  bool is_server;
  if (!context || napi_get_value_bool(env, args[1], &is_server) != napi_ok) return number(env, -1);
  struct connection *c = connection_open(context, get_instance(env)->method, is_server);
  if (c) return hold(env, KIND_CONNECTION, c);
  failure_take(&get_instance(env)->failure);
  return number(env, -1);
}

/* What a call brought, and where it is. */
static napi_value answer(napi_env env, struct connection *c, u32 events, size_t consumed, size_t plain) {
  s32 *status = get_instance(env)->status;
  napi_value result = NULL;
  status[CONSUMED] = (s32)consumed;
  status[PLAIN] = (s32)plain;
  status[ENCRYPTED] = (s32)c->out_used;
  status[SPILLED] = (s32)c->spilled.length;
  connection_aim(c, NULL, 0);
  napi_create_uint32(env, events, &result);
  return result;
}

/* feed(connection, memory, start, length[, plain, plainStart]) -> events; encrypted bytes, and plain ones if no other place is
 * given for them, in the memory of setUp
 */
static napi_value Feed(napi_env env, napi_callback_info info) {
  napi_value args[6];
  size_t argc = 6;
  if (napi_get_cb_info(env, info, &argc, args, NULL, NULL) != napi_ok || argc < 4) return number(env, -1);
  struct instance *instance = get_instance(env);
  struct connection *c = get_connection(env, args[0]);
  struct bytes memory;
  u32 start, length;
  if (!c) return number(env, EVENT_FREED);
  if (!get_bytes(env, args[1], &memory) || napi_get_value_uint32(env, args[2], &start) != napi_ok ||
      napi_get_value_uint32(env, args[3], &length) != napi_ok || start > memory.length || length > memory.length - start)
    return number(env, EVENT_FREED);
  struct bytes plain = { instance->plain, instance->plain_room };
  u32 plain_start = 0;
  if (argc == 6 && (!get_bytes(env, args[4], &plain) || napi_get_value_uint32(env, args[5], &plain_start) != napi_ok ||
                    plain_start > plain.length || plain.length - plain_start < RECORD_BYTES))
    return number(env, EVENT_FREED);
  size_t used = 0;
  connection_aim(c, instance->encrypted, instance->encrypted_room);
  u32 events = connection_feed(c, memory.data + start, length, plain.data + plain_start, plain.length - plain_start, &used);
  return answer(env, c, events, length - c->in_left, used);
}

/* write(connection, memory, start, length, out, outStart, outRoom) -> events; encrypted bytes from outStart on */
static napi_value Write(napi_env env, napi_callback_info info) {
  ARGUMENTS(7);
  struct connection *c = get_connection(env, args[0]);
  struct bytes memory, out;
  u32 start, length, out_start, out_room;
  if (!c) return number(env, EVENT_FREED);
  if (!get_bytes(env, args[1], &memory) || napi_get_value_uint32(env, args[2], &start) != napi_ok ||
      napi_get_value_uint32(env, args[3], &length) != napi_ok || start > memory.length ||
      length > memory.length - start || !get_bytes(env, args[4], &out) ||
      napi_get_value_uint32(env, args[5], &out_start) != napi_ok ||
      napi_get_value_uint32(env, args[6], &out_room) != napi_ok || out_start > out.length ||
      out_room > out.length - out_start)
    return number(env, EVENT_FREED);
  connection_aim(c, out.data + out_start, out_room);
  return answer(env, c, connection_write(c, memory.data + start, length), 0, 0);
}

/* shutdown(connection) -> events; a close_notify in the memory of setUp */
static napi_value Shutdown(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  struct instance *instance = get_instance(env);
  struct connection *c = get_connection(env, args[0]);
  if (!c) return number(env, EVENT_FREED);
  connection_aim(c, instance->encrypted, instance->encrypted_room);
  return answer(env, c, connection_shutdown(c), 0, 0);
}

/* spilled(connection) -> a Buffer with the encrypted bytes that found no room in the last call */
static napi_value Spilled(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  struct connection *c = get_connection(env, args[0]);
  if (!c) return number(env, -1);
  napi_value result = inspect_bytes(env, &c->spilled);
  bytes_free(&c->spilled);
  return result;
}

/* configure(connection, what, value: number, bytes | context | undefined) -> 0 or -1 */
static napi_value Configure(napi_env env, napi_callback_info info) {
  ARGUMENTS(4);
  struct connection *c = get_connection(env, args[0]);
  s32 what, value;
  struct bytes bytes = { NULL, 0 };
  if (!c || napi_get_value_int32(env, args[1], &what) != napi_ok || napi_get_value_int32(env, args[2], &value) != napi_ok)
    return number(env, -1);
  get_bytes(env, args[3], &bytes);
  ERR_clear_error();
  bool result = what == CONFIGURE_CONTEXT ? false : configure(c, what, value, bytes);
  if (what == CONFIGURE_CONTEXT) {
    struct context *context = get_held(env, args[3], KIND_CONTEXT);
    result = context && connection_use_context(c, context);
  }
  if (!result) failure_take(&get_instance(env)->failure);
  ERR_clear_error();
  return number(env, result ? 0 : -1);
}

/* inspect(connection, what) -> what inspect.c says; undefined where there is nothing */
static napi_value Inspect(napi_env env, napi_callback_info info) {
  ARGUMENTS(2);
  struct connection *c = get_connection(env, args[0]);
  s32 what;
  napi_value result = NULL;
  napi_get_undefined(env, &result);
  if (!c || napi_get_value_int32(env, args[1], &what) != napi_ok) return result;
  ERR_clear_error();
  napi_value found = inspect(env, c, what);
  ERR_clear_error();
  return found ? found : result;
}

/* exportKeyingMaterial(connection, out, label, context | undefined) -> 0 or -1 */
static napi_value ExportKeyingMaterial(napi_env env, napi_callback_info info) {
  ARGUMENTS(4);
  struct connection *c = get_connection(env, args[0]);
  struct bytes out, label, context = { NULL, 0 };
  if (!c || !get_bytes(env, args[1], &out) || !get_bytes(env, args[2], &label)) return number(env, -1);
  bool has_context = get_bytes(env, args[3], &context);
  ERR_clear_error();
  int result = SSL_export_keying_material(c->ssl, out.data, out.length, (const char *)label.data, label.length, context.data,
                                          context.length, has_context);
  if (result != 1) failure_take(&get_instance(env)->failure);
  return number(env, result == 1 ? 0 : -1);
}

/* free(connection): now, and not when the garbage is collected */
static napi_value Free(napi_env env, napi_callback_info info) {
  ARGUMENTS(1);
  struct connection *c = get_held(env, args[0], KIND_CONNECTION);
  if (c) connection_free(c);
  return number(env, 0);
}

static void free_instance(napi_env env, void *data, void *hint) {
  (void)hint;
  struct instance *instance = data;
  for (u32 i = 0; i < 3; i++) {
    if (instance->scratch[i]) napi_delete_reference(env, instance->scratch[i]);
  }
  failure_free(&instance->failure);
  release(instance);
}

NAPI_MODULE_INIT(/* env, exports */) {
  struct instance *instance = CRYPTO_malloc && CRYPTO_free ? allocate(sizeof *instance) : NULL;
  if (!instance) return NULL;
  __builtin_memset(instance, 0, sizeof *instance);
  napi_set_instance_data(env, instance, free_instance, NULL);
  static const struct { const char *name; napi_callback call; } table[] = {
    { "missing", Missing }, { "version", Version }, { "setUp", SetUp }, { "failure", Failure }, { "context", Context },
    { "set", Set }, { "shareRoots", ShareRoots }, { "contextBytes", ContextBytes }, { "open", Open }, { "feed", Feed },
    { "write", Write }, { "shutdown", Shutdown }, { "spilled", Spilled }, { "configure", Configure },
    { "inspect", Inspect }, { "exportKeyingMaterial", ExportKeyingMaterial }, { "free", Free },
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    napi_value fn;
    napi_create_function(env, table[i].name, NAPI_AUTO_LENGTH, table[i].call, NULL, &fn);
    napi_set_named_property(env, exports, table[i].name, fn);
  }
  return exports;
}
