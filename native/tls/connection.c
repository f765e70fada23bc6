/* A connection: an SSL whose encrypted bytes come from memory that is lent for a call and go to memory that the call was
 * given. Nothing here waits and nothing calls JavaScript: a callback of OpenSSL that needs an answer suspends the handshake
 * (EVENT_HELLO, EVENT_CERTIFICATE), and the next call resumes it. Renegotiation is refused (context.c).
 */
#include "tls.h"

static struct connection *connection_of(const SSL *ssl) { return SSL_get_ex_data(ssl, 0); }

/* ---- the two ends of the SSL ---- */

static bool is_between_records(const struct connection *c) { return !c->header_bytes && !c->body_left; }

/* RFC 8446, 5.1: a header of five bytes ends with the length of what follows. OpenSSL reads no further than one record. */
static void follow_record(struct connection *c, u8 *to, size_t length) {
  if (is_between_records(c) || !c->record || to != c->record + c->record_length) {
    c->record = to;
    c->record_length = 0;
  }
  c->record_length += length;
  for (; length && !c->body_left; length--, to++) {
    static const u32 header = 5;
    if (++c->header_bytes > 3) c->body_length = c->body_length << 8 | *to;
    if (c->header_bytes < header) continue;
    c->body_left = c->body_length;
    c->header_bytes = c->body_length = 0;
  }
  c->body_left -= length < c->body_left ? (u32)length : c->body_left;
}

static int read_encrypted(BIO *bio, char *to, int room) {
  struct connection *c = BIO_get_data(bio);
  BIO_clear_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_RETRY);
  if (room <= 0) return 0;
  if (!c->in_left || c->events & EVENT_SESSION) { /* one session at a time: it is the SSL's only until the next */
    BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_RETRY);
    return -1;
  }
  size_t length = (size_t)room < c->in_left ? (size_t)room : c->in_left;
  __builtin_memcpy(to, c->in, length);
  follow_record(c, (u8 *)to, length);
  c->in += length;
  c->in_left -= length;
  return (int)length;
}

static int write_encrypted(BIO *bio, const char *from, int length) {
  struct connection *c = BIO_get_data(bio);
  if (length <= 0) return 0;
  size_t left = (size_t)length, room = c->out_room - c->out_used;
  if (!c->spilled.length && left <= room) {
    __builtin_memcpy(c->out + c->out_used, from, left);
    c->out_used += left;
  } else if (!bytes_append(&c->spilled, from, left)) {
    return -1;
  }
  return length;
}

static long control_encrypted(BIO *bio, int command, long number, void *pointer) {
  (void)bio;
  (void)number;
  (void)pointer;
  return command == BIO_CTRL_FLUSH;
}

/* One for the process, and for good: connections of several threads may outlive whoever asked first. */
const BIO_METHOD *connection_bio_method(void) {
  static BIO_METHOD *shared;
  BIO_METHOD *method = __atomic_load_n(&shared, __ATOMIC_ACQUIRE), *none = NULL;
  if (method) return method;
  method = BIO_meth_new(BIO_SOURCE_SINK | 126, "millrace");
  if (!method) return NULL;
  BIO_meth_set_read(method, read_encrypted);
  BIO_meth_set_write(method, write_encrypted);
  BIO_meth_set_ctrl(method, control_encrypted);
  if (__atomic_compare_exchange_n(&shared, &none, method, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) return method;
  BIO_meth_free(method);
  return none;
}

/* ---- the life of a connection ---- */

struct connection *connection_open(struct context *context, const BIO_METHOD *method, bool is_server) {
  struct connection *c = allocate(sizeof *c);
  if (!c) return NULL;
  __builtin_memset(c, 0, sizeof *c);
  ERR_clear_error();
  c->is_server = is_server;
  c->ssl = SSL_new(context->ctx);
  BIO *bio = c->ssl ? BIO_new(method) : NULL;
  if (!bio || !SSL_set_ex_data(c->ssl, 0, c)) {
    if (bio) BIO_free(bio);
    if (c->ssl) SSL_free(c->ssl);
    release(c);
    return NULL;
  }
  context->references++;
  c->context = context;
  BIO_set_data(bio, c);
  BIO_set_init(bio, 1);
  SSL_set_bio(c->ssl, bio, bio);
  /* Whether a certificate is good enough is asked after the handshake, as Node does: verify result and host name. */
  SSL_set_verify(c->ssl, SSL_VERIFY_NONE, accept_any_certificate);
  if (is_server) SSL_set_accept_state(c->ssl);
  else SSL_set_connect_state(c->ssl);
  return c;
}

int accept_any_certificate(int ok, X509_STORE_CTX *store) {
  (void)ok;
  (void)store;
  return 1;
}

void connection_free(struct connection *c) {
  if (!c->ssl) return;
  SSL_free(c->ssl);
  c->ssl = NULL;
  if (c->loaded) SSL_SESSION_free(c->loaded);
  c->loaded = NULL;
  struct bytes *all[] = { &c->spilled, &c->hello_session, &c->hello_alpn, &c->hello_servername, &c->alpn, &c->ocsp, &c->keylog };
  for (u32 i = 0; i < sizeof all / sizeof *all; i++) bytes_free(all[i]);
  for (u32 i = 0; i < MOST_SESSIONS; i++) {
    bytes_free(&c->sessions[i]);
    bytes_free(&c->session_ids[i]);
  }
  failure_free(&c->failure);
  context_close(c->context);
}

void failure_free(struct failure *failure) {
  bytes_free(&failure->message);
  failure->library = failure->reason = NULL;
}

/* Takes what OpenSSL said first, in Node's words, and leaves its queue empty. */
void failure_take(struct failure *failure) {
  failure_free(failure);
  unsigned long error = ERR_peek_error();
  if (!error) return;
  failure->library = ERR_lib_error_string(error);
  failure->reason = ERR_reason_error_string(error);
  BIO *bio = BIO_new(BIO_s_mem());
  if (bio) {
    char *text = NULL;
    ERR_print_errors(bio);
    long length = BIO_ctrl(bio, BIO_CTRL_INFO, 0, &text);
    for (long i = 0; i < length; i++) {
      if (text[i] == '\n') length = i + 1; /* as Node: one line */
    }
    if (length > 0) bytes_set(&failure->message, text, (size_t)length);
    BIO_free(bio);
  }
  ERR_clear_error();
}

/* ---- calls ---- */

void connection_aim(struct connection *c, u8 *out, size_t room) {
  c->out = out;
  c->out_room = room;
  c->out_used = 0;
}

/* What a call of OpenSSL's that did not succeed means. */
static u32 settle(struct connection *c, int result) {
  switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_WANT_READ: return 0;
    case SSL_ERROR_WANT_X509_LOOKUP: return EVENT_CERTIFICATE;
    case SSL_ERROR_WANT_CLIENT_HELLO_CB: return EVENT_HELLO;
    case SSL_ERROR_ZERO_RETURN: return EVENT_CLOSED;
  }
  c->has_failed = true;
  failure_take(&c->failure);
  return EVENT_FAILED;
}

/* The queue is the thread's: Node's crypto must not find what is ours, nor SSL_get_error what is Node's. */
static void clear_errors(void) {
  if (ERR_peek_error()) ERR_clear_error();
}

static u32 take_events(struct connection *c) {
  u32 events = c->events;
  c->events = 0;
  clear_errors();
  return events;
}

/* The record whose plain bytes were just read is erased where it lies. SSL_OP_CLEANSE_PLAINTEXT does so slowly, and erases
 * the whole buffer each time that it is given back. What was read last is that record (a key update, which changes buffers,
 * would stand before it), and its buffer is there: it goes with SSL_free_buffers only. */
static void erase_record(struct connection *c) {
  if (!c->record) return;
  __builtin_memset(c->record, 0, c->record_length);
  __asm__ volatile("" : : "r"(c->record) : "memory");
  c->record = NULL;
}

/* OpenSSL's buffers, 16 KB and more each, are there while they hold something: of all connections only a few have some, and
 * those have just been used. */
static void give_buffers(struct connection *c) {
  /* OpenSSL 3.0 itself forgets to look whether it has read a header and no more, or a part of a handshake's record. */
  if (c->has_failed || !is_between_records(c) || SSL_has_pending(c->ssl)) return;
  if (SSL_free_buffers(c->ssl)) c->record = NULL;
}

u32 connection_feed(struct connection *c, const u8 *in, size_t length, u8 *plain, size_t room, size_t *plain_bytes) {
  u32 events = 0;
  size_t used = 0;
  if (c->has_failed) return EVENT_FAILED;
  clear_errors();
  c->in = in;
  c->in_left = length;
  if (!c->is_secure) {
    int result = SSL_do_handshake(c->ssl);
    c->is_secure = result == 1;
    events = c->is_secure ? EVENT_SECURE : settle(c, result);
  } else {
    for (;;) {
      size_t bytes = 0;
      if (room - used < RECORD_BYTES) {
        events = EVENT_MORE;
        break;
      }
      int result = SSL_read_ex(c->ssl, plain + used, room - used, &bytes);
      if (result != 1) {
        events = settle(c, result);
        break;
      }
      used += bytes;
      erase_record(c);
      if (!c->in_left) break; /* another call would find nothing */
    }
  }
  *plain_bytes = used;
  c->in = NULL;
  give_buffers(c);
  return events | take_events(c);
}

u32 connection_write(struct connection *c, const u8 *data, size_t length) {
  size_t written;
  if (c->has_failed) return EVENT_FAILED;
  if (!length) return 0;
  clear_errors();
  c->in_left = 0;
  int result = SSL_write_ex(c->ssl, data, length, &written);
  u32 events = result == 1 ? 0 : settle(c, result);
  /* It wrote nothing and waits for bytes: only a handshake would, and none may begin. */
  if (result != 1 && !events) {
    c->has_failed = true;
    events = EVENT_FAILED;
  }
  give_buffers(c);
  return events | take_events(c);
}

u32 connection_shutdown(struct connection *c) {
  if (c->has_failed || !c->is_secure) return 0;
  clear_errors();
  c->in_left = 0;
  SSL_shutdown(c->ssl);
  give_buffers(c);
  return take_events(c);
}

/* The certificate, trust and client CAs of another context, as Node does for SNI. */
bool connection_use_context(struct connection *c, struct context *context) {
  context->references++;
  bool result = SSL_set_SSL_CTX(c->ssl, context->ctx) != NULL &&
                SSL_ctrl(c->ssl, SSL_CTRL_SET_VERIFY_CERT_STORE, 1, SSL_CTX_get_cert_store(context->ctx)) == 1;
  STACK *names = SSL_dup_CA_list(SSL_CTX_get_client_CA_list(context->ctx));
  if (names) SSL_set_client_CA_list(c->ssl, names); /* takes them */
  /* The first context's SSL_CTX is held by the SSL itself; only the ticket keys beside it are ours. */
  context_close(c->context);
  c->context = context;
  return result;
}

/* ---- callbacks of OpenSSL ---- */

/* RFC 8446, 4.1.2: told before anything is decided. */
int on_client_hello(SSL *ssl, int *alert, void *data) {
  struct connection *c = connection_of(ssl);
  const u8 *bytes;
  size_t length;
  (void)alert;
  (void)data;
  if (c->hello == WAIT_NOW) return SSL_CLIENT_HELLO_RETRY;
  if (c->hello != WAIT_WANTED) return SSL_CLIENT_HELLO_SUCCESS;
  length = SSL_client_hello_get0_session_id(ssl, &bytes);
  bytes_set(&c->hello_session, bytes, length);
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_ALPN, &bytes, &length) == 1) bytes_set(&c->hello_alpn, bytes, length);
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_SNI, &bytes, &length) == 1) bytes_set(&c->hello_servername, bytes, length);
  c->hello_has_ticket = SSL_client_hello_get0_ext(ssl, TLSEXT_TICKET, &bytes, &length) == 1 && length > 0;
  c->hello = WAIT_NOW;
  return SSL_CLIENT_HELLO_RETRY;
}

/* The certificate follows from the name by SSL_set_cert_cb. That there is a callback is enough: without a certificate for TLS
 * 1.3 OpenSSL would fall back to 1.2 otherwise, and Node has one.
 */
int on_servername(SSL *ssl, int *alert, void *data) {
  (void)ssl;
  (void)alert;
  (void)data;
  return TLSEXT_ERR_NOACK;
}

/* The server's order decides. RFC 7301, 3.2: without a common protocol the handshake fails. */
int on_select_alpn(SSL *ssl, const u8 **out, u8 *out_length, const u8 *in, unsigned int in_length, void *data) {
  struct connection *c = connection_of(ssl);
  (void)data;
  if (c->refuses_alpn) return TLSEXT_ERR_ALERT_FATAL;
  if (!c->alpn.length) return TLSEXT_ERR_NOACK;
  for (size_t i = 0; i < c->alpn.length; i += (size_t)c->alpn.data[i] + 1) {
    u8 length = c->alpn.data[i];
    if (i + 1 + length > c->alpn.length) break;
    for (size_t k = 0; k < in_length; k += (size_t)in[k] + 1) {
      if (in[k] != length || k + 1 + length > in_length) continue;
      if (__builtin_memcmp(in + k + 1, c->alpn.data + i + 1, length)) continue;
      *out = c->alpn.data + i + 1;
      *out_length = length;
      return TLSEXT_ERR_OK;
    }
  }
  return TLSEXT_ERR_ALERT_FATAL;
}

int on_new_session(SSL *ssl, SSL_SESSION *session) {
  struct connection *c = connection_of(ssl);
  if (!c->wants_sessions || c->session_count == MOST_SESSIONS) return 0;
  unsigned int id_length;
  const u8 *id = SSL_SESSION_get_id(session, &id_length);
  u8 *der = NULL;
  int length = i2d_SSL_SESSION(session, &der);
  if (length > 0) {
    bytes_set(&c->session_ids[c->session_count], id, id_length);
    bytes_set(&c->sessions[c->session_count++], der, (size_t)length);
    c->events |= EVENT_SESSION;
  }
  if (der) {
    OPENSSL_cleanse(der, (size_t)length);
    release(der);
  }
  return 0; /* it is OpenSSL's still */
}

SSL_SESSION *on_get_session(SSL *ssl, const u8 *id, int length, int *copy) {
  struct connection *c = connection_of(ssl);
  (void)id;
  (void)length;
  *copy = 0;
  SSL_SESSION *session = c->loaded;
  c->loaded = NULL;
  return session;
}

/* OCSP stapling, RFC 6066, 8 */
int on_status(SSL *ssl, void *data) {
  struct connection *c = connection_of(ssl);
  (void)data;
  if (!c->is_server) {
    u8 *response = NULL;
    long length = SSL_ctrl(ssl, SSL_CTRL_GET_STATUS_RESP, 0, &response);
    bytes_free(&c->ocsp);
    if (response && length > 0) bytes_set(&c->ocsp, response, (size_t)length);
    c->events |= EVENT_OCSP;
    return 1;
  }
  if (!c->ocsp.length) return TLSEXT_ERR_NOACK;
  u8 *copy = allocate(c->ocsp.length);
  if (!copy) return TLSEXT_ERR_NOACK;
  __builtin_memcpy(copy, c->ocsp.data, c->ocsp.length);
  if (SSL_ctrl(ssl, SSL_CTRL_SET_STATUS_RESP, (long)c->ocsp.length, copy) == 1) return TLSEXT_ERR_OK; /* takes it */
  release(copy);
  return TLSEXT_ERR_NOACK;
}

void on_keylog(const SSL *ssl, const char *line) {
  struct connection *c = connection_of(ssl);
  if (!c || !c->wants_keylog) return;
  bytes_append(&c->keylog, line, text_length(line));
  bytes_append(&c->keylog, "\n", 1);
  c->events |= EVENT_KEYLOG;
}
