// Connections that speak TLS 1.3 with the libssl of the system: one cipher, so that all servers have the same. Certificates
// are not verified: that is work of the load's own. With --resume each handshake has to take up a session.
#include "load.h"
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

enum { RECORD = 16384, MOST_FDS = 1 << 20 };
static SSL **connections; // by descriptor
static SSL_CTX *context;
static SSL_SESSION *session;

_Noreturn static void fail_tls(const char *what, uint32_t nth) {
  const char *reason = ERR_reason_error_string(ERR_peek_last_error());
  fail(EXIT_FAILED, "%s on connection %u: %s", what, nth, reason ? reason : "the server closed it");
}

static int keep_session(SSL *ssl, SSL_SESSION *made) {
  (void)ssl;
  if (session) SSL_SESSION_free(session);
  session = made;
  return 1;
}

static void open_context(void) {
  connections = calloc(MOST_FDS, sizeof *connections);
  context = SSL_CTX_new(TLS_client_method());
  if (!connections || !context || !SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) ||
      !SSL_CTX_set_ciphersuites(context, "TLS_AES_256_GCM_SHA384"))
    fail(EXIT_FAILED, "libssl can't be set up");
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  if (!opt.resumes) return;
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context, keep_session);
}

bool wire_begin(int fd, uint32_t nth) {
  if (!context) open_context();
  SSL *ssl = connections[fd];
  if (!ssl) {
    ssl = connections[fd] = SSL_new(context);
    if (!ssl || !SSL_set_fd(ssl, fd)) fail(EXIT_FAILED, "no memory for connection %u", nth);
    // A copy: OpenSSL takes up each session of TLS 1.3 only once, and servers send none for a resumed one.
    SSL_SESSION *copy = session ? SSL_SESSION_dup(session) : NULL;
    if (copy && SSL_set_session(ssl, copy)) SSL_set_app_data(ssl, session);
    SSL_SESSION_free(copy);
  }
  ERR_clear_error();
  int result = SSL_connect(ssl);
  if (result != 1) {
    if (SSL_get_error(ssl, result) != SSL_ERROR_WANT_READ) fail_tls("handshake", nth);
    return false;
  }
  if (SSL_get_app_data(ssl) && !SSL_session_reused(ssl)) fail(EXIT_FAILED, "connection %u did not resume", nth);
  return true;
}

/** As a system call's result. */
static ssize_t settle(SSL *ssl, int result) {
  switch (SSL_get_error(ssl, result)) {
    case SSL_ERROR_ZERO_RETURN: return 0;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: errno = EAGAIN; break;
    case SSL_ERROR_SYSCALL: break;
    default: errno = EPROTO;
  }
  return -1;
}

ssize_t wire_send(int fd, const void *data, size_t n) {
  ERR_clear_error();
  int sent = SSL_write(connections[fd], data, (int)n);
  return sent > 0 ? sent : settle(connections[fd], sent);
}

/** All that has come, if it fits: epoll does not tell of what SSL has read already. */
ssize_t wire_recv(int fd, void *data, size_t n) {
  SSL *ssl = connections[fd];
  bool is_blocking = !(fcntl(fd, F_GETFL) & O_NONBLOCK);
  size_t got = 0;
  while (got == 0 || (!is_blocking && n - got >= RECORD)) {
    ERR_clear_error();
    int one = SSL_read(ssl, (char *)data + got, (int)(n - got));
    if (one <= 0) return got > 0 ? (ssize_t)got : settle(ssl, one);
    got += (size_t)one;
  }
  return (ssize_t)got;
}

/** Tickets. */
void wire_settle(int fd) {
  char byte;
  ERR_clear_error();
  SSL_peek(connections[fd], &byte, 1);
}

void wire_finish(int fd) {
  SSL_shutdown(connections[fd]); // a close_notify
  shutdown(fd, SHUT_WR);
}

void wire_close(int fd) {
  SSL_shutdown(connections[fd]);
  SSL_free(connections[fd]);
  connections[fd] = NULL;
  close(fd);
}
