/* What the files of this part share: contexts (who we are, whom we trust) and connections (one SSL each). */
#ifndef MILLRACE_TLS_H
#define MILLRACE_TLS_H

#include <stdbool.h>

#include "openssl.h"

typedef uint8_t u8;
typedef uint32_t u32;
typedef int32_t s32;

static inline void *allocate(size_t bytes) { return CRYPTO_malloc(bytes, "millrace", 0); }
static inline void release(void *memory) { CRYPTO_free(memory, "millrace", 0); }

/* strlen(3) is libc's */
static inline size_t text_length(const char *text) {
  size_t length = 0;
  for (const volatile char *at = text; *at; at++) length++;
  return length;
}

struct bytes {
  u8 *data;
  size_t length;
};

/* Replaces what is there; what was there is erased first. */
bool bytes_set(struct bytes *bytes, const void *data, size_t length);
bool bytes_append(struct bytes *bytes, const void *data, size_t length);
void bytes_free(struct bytes *bytes);

/* ---- contexts: context.c ---- */

enum { TICKET_KEY_BYTES = 48 }; /* as Node's: 16 of name, 16 of HMAC-SHA256, 16 of AES-128-CBC */

struct context {
  SSL_CTX *ctx;
  u8 ticket_keys[TICKET_KEY_BYTES];
  struct bytes certificate, issuer; /* DER, for 'OCSPRequest' */
  u32 references; /* by JavaScript, and by each SSL_CTX that an SSL still uses */
};

enum context_setting { /* src/tls/native.ts has the same */
  CONTEXT_CERTIFICATE = 0, CONTEXT_KEY, CONTEXT_CA, CONTEXT_CRL, CONTEXT_PFX, CONTEXT_CIPHERS, CONTEXT_SUITES,
  CONTEXT_GROUPS, CONTEXT_SIGALGS, CONTEXT_DH, CONTEXT_SESSION_ID_CONTEXT, CONTEXT_TICKET_KEYS, CONTEXT_TIMEOUT,
  CONTEXT_PARTIAL_CHAIN, CONTEXT_KEYLOG, CONTEXT_ROOTS
};

struct context *context_open(int min_version, int max_version, uint64_t options);
/* `second` is the passphrase of a key, NULL without one. Returns whether OpenSSL took it. */
bool context_set(struct context *context, int setting, struct bytes value, const char *passphrase, double number);
void context_share_roots(struct context *context, const struct context *roots);
void context_close(struct context *context);

/* ---- connections: connection.c ---- */

enum event { /* what a call has brought about; src/tls/native.ts has the same */
  EVENT_SECURE = 1, /* the handshake is done: call again for what came behind it */
  EVENT_MORE = 2, /* the memory for plain bytes is full: call again */
  EVENT_CLOSED = 4, /* the peer's close_notify */
  EVENT_FAILED = 8, /* see connection->failure; nothing but an alert may still be sent */
  EVENT_HELLO = 16, /* the handshake waits for an answer to the ClientHello */
  EVENT_CERTIFICATE = 32, /* the handshake waits for a certificate */
  EVENT_SESSION = 64,
  EVENT_KEYLOG = 128,
  EVENT_OCSP = 256,
  EVENT_FREED = 512 /* the connection is over */
};

enum { RECORD_BYTES = 16384 }; /* RFC 8446, 5.1: plain bytes of one record, at most */

enum wait { WAIT_NEVER = 0, WAIT_WANTED, WAIT_NOW, WAIT_DONE };

enum { MOST_SESSIONS = 8 }; /* tickets of one flight that are kept for JavaScript */

struct failure {
  struct bytes message; /* as ERR_print_errors has it */
  const char *library, *reason;
};

struct connection {
  SSL *ssl;
  struct context *context;
  struct failure failure;
  bool is_server, is_secure, has_failed, wants_sessions, wants_keylog;
  enum wait hello, certificate;
  u32 events; /* of callbacks within the present call */
  /* where encrypted bytes come from and go to within a call */
  const u8 *in;
  size_t in_left;
  /* of the record that OpenSSL reads: where it is put, and decrypted in place; what is known of its header, and missing */
  u8 *record;
  size_t record_length;
  u32 header_bytes, body_length, body_left;
  u8 *out;
  size_t out_used, out_room;
  struct bytes spilled; /* what found no room there */
  /* of the ClientHello: SessionID, and the bodies of two extensions */
  struct bytes hello_session, hello_alpn, hello_servername;
  bool hello_has_ticket;
  struct bytes alpn; /* protocols a server offers, or the one it has chosen, length-prefixed */
  bool refuses_alpn; /* ALPNCallback chose none */
  struct bytes ocsp; /* to be sent, or received */
  struct bytes keylog; /* lines */
  struct bytes sessions[MOST_SESSIONS], session_ids[MOST_SESSIONS];
  u32 session_count;
  SSL_SESSION *loaded; /* the answer to a session id */
};

struct connection *connection_open(struct context *context, const BIO_METHOD *method, bool is_server);
const BIO_METHOD *connection_bio_method(void);
u32 connection_feed(struct connection *c, const u8 *in, size_t length, u8 *plain, size_t room, size_t *plain_bytes);
u32 connection_write(struct connection *c, const u8 *data, size_t length);
u32 connection_shutdown(struct connection *c);
bool connection_use_context(struct connection *c, struct context *context);
void connection_aim(struct connection *c, u8 *out, size_t room);
void connection_free(struct connection *c);
void failure_take(struct failure *failure);
void failure_free(struct failure *failure);

/* callbacks that each context is given */
int on_client_hello(SSL *ssl, int *alert, void *data);
int on_servername(SSL *ssl, int *alert, void *data);
int on_select_alpn(SSL *ssl, const u8 **out, u8 *out_length, const u8 *in, unsigned int in_length, void *data);
int on_new_session(SSL *ssl, SSL_SESSION *session);
SSL_SESSION *on_get_session(SSL *ssl, const u8 *id, int length, int *copy);
int on_status(SSL *ssl, void *data);
void on_keylog(const SSL *ssl, const char *line);
int accept_any_certificate(int ok, X509_STORE_CTX *store);

#endif
