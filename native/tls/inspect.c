/* Answers about a connection as plain values: bytes, texts, numbers. TypeScript makes Node's objects of them. */
#include "inspect.h"

/* ---- values ---- */

static napi_value text(napi_env env, const char *string) {
  napi_value result = NULL;
  if (string) napi_create_string_utf8(env, string, NAPI_AUTO_LENGTH, &result);
  else napi_get_undefined(env, &result);
  return result;
}

static napi_value integer(napi_env env, s32 value) {
  napi_value result = NULL;
  napi_create_int32(env, value, &result);
  return result;
}

static napi_value copy(napi_env env, const void *data, size_t length) {
  napi_value result = NULL;
  void *to;
  return napi_create_buffer_copy(env, length, length ? data : "", &to, &result) == napi_ok ? result : NULL;
}

static napi_value list(napi_env env, u32 count, const napi_value *values) {
  napi_value result = NULL;
  napi_create_array_with_length(env, count, &result);
  for (u32 i = 0; i < count; i++) {
    if (values[i]) napi_set_element(env, result, i, values[i]);
  }
  return result;
}

napi_value inspect_bytes(napi_env env, const struct bytes *bytes) {
  napi_value result = NULL;
  if (bytes->length) return copy(env, bytes->data, bytes->length);
  napi_get_null(env, &result);
  return result;
}

napi_value inspect_failure(napi_env env, const struct failure *failure) {
  napi_value parts[3] = { copy(env, failure->message.data, failure->message.length), text(env, failure->library),
                          text(env, failure->reason) };
  return list(env, 3, parts);
}

static napi_value der(napi_env env, X509 *certificate) {
  u8 *bytes = NULL;
  int length = certificate ? i2d_X509(certificate, &bytes) : 0;
  napi_value result = length > 0 ? copy(env, bytes, (size_t)length) : NULL;
  if (bytes) release(bytes);
  return result;
}

/* ---- settings ---- */

static bool set_session(struct connection *c, struct bytes bytes, bool is_now) {
  const u8 *from = bytes.data;
  SSL_SESSION *session = d2i_SSL_SESSION(NULL, &from, (long)bytes.length);
  if (!session) return false;
  if (!is_now) {
    if (c->loaded) SSL_SESSION_free(c->loaded);
    c->loaded = session;
    return true;
  }
  bool result = SSL_set_session(c->ssl, session) == 1;
  SSL_SESSION_free(session);
  return result;
}

static int on_certificate(SSL *ssl, void *data) {
  struct connection *c = data;
  (void)ssl;
  if (c->certificate == WAIT_DONE) return 1;
  c->certificate = WAIT_NOW;
  return -1;
}

static void set_wants(struct connection *c, u32 bits) {
  if (bits & EVENT_HELLO && c->hello == WAIT_NEVER) c->hello = WAIT_WANTED;
  if (bits & EVENT_CERTIFICATE && c->certificate == WAIT_NEVER) {
    c->certificate = WAIT_WANTED;
    SSL_set_cert_cb(c->ssl, on_certificate, c);
  }
  if (bits & EVENT_SESSION) c->wants_sessions = true;
  if (bits & EVENT_KEYLOG) c->wants_keylog = true;
}

static int verify_mode(int bits) {
  if (!(bits & 1)) return SSL_VERIFY_NONE;
  return bits & 2 ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT : SSL_VERIFY_PEER;
}

bool configure(struct connection *c, int what, int value, struct bytes bytes) {
  SSL *ssl = c->ssl;
  switch (what) {
    case CONFIGURE_VERIFY: SSL_set_verify(ssl, verify_mode(value), accept_any_certificate); return true;
    case CONFIGURE_SERVERNAME:
      if (!bytes.length || bytes.data[bytes.length - 1]) return false;
      return SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, 0, bytes.data) == 1;
    case CONFIGURE_ALPN:
      if (!c->is_server) return SSL_set_alpn_protos(ssl, bytes.data, (unsigned int)bytes.length) == 0;
      c->refuses_alpn = value == 1 && !bytes.length;
      return bytes_set(&c->alpn, bytes.data, bytes.length);
    case CONFIGURE_SESSION: return set_session(c, bytes, true);
    case CONFIGURE_LOADED_SESSION: return set_session(c, bytes, false);
    case CONFIGURE_OCSP_REQUEST: return SSL_ctrl(ssl, SSL_CTRL_SET_STATUS_TYPE, TLS_STATUS_OCSP, NULL) == 1;
    case CONFIGURE_OCSP_RESPONSE: return bytes_set(&c->ocsp, bytes.data, bytes.length);
    case CONFIGURE_WANTS: set_wants(c, (u32)value); return true;
    case CONFIGURE_RESUME:
      if (c->hello == WAIT_NOW) c->hello = WAIT_DONE;
      if (c->certificate == WAIT_NOW) c->certificate = WAIT_DONE;
      return true;
    case CONFIGURE_MAX_FRAGMENT: return SSL_ctrl(ssl, SSL_CTRL_SET_MAX_SEND_FRAGMENT, value, NULL) == 1;
  }
  return false;
}

/* ---- answers ---- */

/* As ncrypto's verifyPeerCertificate: a peer without a certificate is only trusted in a resumed TLS 1.3 session, whose
 * result is the session's. PSK cipher suites never come here. */
static s32 verify_result(struct connection *c) {
  X509 *peer = SSL_get1_peer_certificate(c->ssl);
  if (peer) {
    X509_free(peer);
    return (s32)SSL_get_verify_result(c->ssl);
  }
  SSL_SESSION *session = SSL_get_session(c->ssl);
  bool is_resumed = session && SSL_SESSION_get_protocol_version(session) == TLS1_3 && SSL_session_reused(c->ssl);
  return is_resumed ? X509_OK : X509_NO_ISSUER; /* Node's word for a peer without a certificate */
}

/* -> [number, text] */
static napi_value verify_answer(napi_env env, struct connection *c) {
  s32 result = verify_result(c);
  napi_value parts[2] = { integer(env, result), text(env, X509_verify_cert_error_string(result)) };
  return list(env, 2, parts);
}

enum { MOST_ISSUERS = 32 };

/* The peer's certificate, then issuer by issuer: from what it sent, then from those we trust. */
static napi_value peer_certificates(napi_env env, struct connection *c) {
  X509 *certificate = SSL_get1_peer_certificate(c->ssl);
  if (!certificate) return NULL;
  STACK *sent = SSL_get_peer_cert_chain(c->ssl);
  napi_value result;
  u32 count = 0;
  napi_create_array(env, &result);
  while (certificate && count < MOST_ISSUERS) {
    napi_value bytes = der(env, certificate);
    if (bytes) napi_set_element(env, result, count, bytes);
    count++;
    X509 *issuer = NULL;
    if (X509_check_issued(certificate, certificate) != X509_OK) {
      for (int i = 0; sent && i < OPENSSL_sk_num(sent) && !issuer; i++) {
        X509 *candidate = OPENSSL_sk_value(sent, i);
        if (X509_check_issued(candidate, certificate) != X509_OK || X509_cmp(candidate, certificate) == 0) continue;
        X509_up_ref(candidate);
        issuer = candidate;
      }
      X509_STORE_CTX *store = issuer ? NULL : X509_STORE_CTX_new();
      if (store && X509_STORE_CTX_init(store, SSL_CTX_get_cert_store(SSL_get_SSL_CTX(c->ssl)), NULL, NULL) == 1 &&
          X509_STORE_CTX_get1_issuer(&issuer, store, certificate) != 1)
        issuer = NULL;
      if (store) X509_STORE_CTX_free(store);
    }
    X509_free(certificate);
    certificate = issuer;
  }
  X509_free(certificate);
  return result;
}

static napi_value cipher(napi_env env, struct connection *c) {
  const SSL_CIPHER *current = SSL_get_current_cipher(c->ssl);
  if (!current) return NULL;
  napi_value parts[3] = { text(env, SSL_CIPHER_get_name(current)), text(env, SSL_CIPHER_standard_name(current)),
                          text(env, SSL_CIPHER_get_version(current)) };
  return list(env, 3, parts);
}

static napi_value session(napi_env env, struct connection *c) {
  SSL_SESSION *current = SSL_get_session(c->ssl);
  u8 *bytes = NULL;
  int length = current ? i2d_SSL_SESSION(current, &bytes) : 0;
  napi_value result = length > 0 ? copy(env, bytes, (size_t)length) : NULL;
  if (bytes) {
    OPENSSL_cleanse(bytes, (size_t)length);
    release(bytes);
  }
  return result;
}

static napi_value finished(napi_env env, struct connection *c, bool of_peer) {
  u8 bytes[64];
  size_t length = of_peer ? SSL_get_peer_finished(c->ssl, bytes, sizeof bytes) : SSL_get_finished(c->ssl, bytes, sizeof bytes);
  return length && length <= sizeof bytes ? copy(env, bytes, length) : NULL;
}

static napi_value alpn(napi_env env, struct connection *c) {
  const u8 *name = NULL;
  unsigned int length = 0;
  SSL_get0_alpn_selected(c->ssl, &name, &length);
  return length ? copy(env, name, length) : NULL;
}

/* -> [type, name, bits] of the peer's temporary key */
static napi_value ephemeral_key(napi_env env, struct connection *c) {
  EVP_PKEY *key = NULL;
  if (SSL_ctrl(c->ssl, SSL_CTRL_GET_PEER_TMP_KEY, 0, &key) != 1 || !key) {
    /* A key encapsulation has no such key. Before the handshake there is no session, which OpenSSL doesn't check. */
    const char *group = SSL_get0_group_name && SSL_get_session(c->ssl) ? SSL_get0_group_name(c->ssl) : NULL;
    napi_value named[3] = { integer(env, 0), text(env, group), integer(env, 0) };
    return group ? list(env, 3, named) : NULL;
  }
  int id = EVP_PKEY_get_id(key);
  char name[80];
  size_t length = 0;
  const char *known = id == EVP_EC && EVP_PKEY_get_group_name(key, name, sizeof name, &length) == 1 ? name : OBJ_nid2sn(id);
  napi_value parts[3] = { integer(env, id), text(env, known), integer(env, EVP_PKEY_get_bits(key)) };
  EVP_PKEY_free(key);
  return list(env, 3, parts);
}

/* -> [number and name of the signature, name of the hash, …] */
static napi_value shared_sigalgs(napi_env env, struct connection *c) {
  napi_value result;
  int count = SSL_get_shared_sigalgs(c->ssl, 0, NULL, NULL, NULL, NULL, NULL);
  napi_create_array(env, &result);
  for (int i = 0; i < count; i++) {
    int sign = 0, hash = 0, both = 0;
    SSL_get_shared_sigalgs(c->ssl, i, &sign, &hash, &both, NULL, NULL);
    napi_set_element(env, result, (u32)i * 3, integer(env, sign));
    napi_set_element(env, result, (u32)i * 3 + 1, text(env, OBJ_nid2sn(sign)));
    napi_set_element(env, result, (u32)i * 3 + 2, text(env, OBJ_nid2sn(hash)));
  }
  return result;
}

static napi_value ticket(napi_env env, struct connection *c) {
  SSL_SESSION *current = SSL_get_session(c->ssl);
  const u8 *bytes = NULL;
  size_t length = 0;
  if (current) SSL_SESSION_get0_ticket(current, &bytes, &length);
  return length ? copy(env, bytes, length) : NULL;
}

static napi_value hello(napi_env env, struct connection *c) {
  napi_value parts[4] = { copy(env, c->hello_session.data, c->hello_session.length), inspect_bytes(env, &c->hello_alpn),
                          inspect_bytes(env, &c->hello_servername), integer(env, c->hello_has_ticket) };
  return list(env, 4, parts);
}

/* -> [id, session, id, session …] since the last time */
static napi_value new_sessions(napi_env env, struct connection *c) {
  napi_value result;
  napi_create_array(env, &result);
  for (u32 i = 0; i < c->session_count; i++) {
    napi_set_element(env, result, i * 2, copy(env, c->session_ids[i].data, c->session_ids[i].length));
    napi_set_element(env, result, i * 2 + 1, copy(env, c->sessions[i].data, c->sessions[i].length));
    bytes_free(&c->session_ids[i]);
    bytes_free(&c->sessions[i]);
  }
  c->session_count = 0;
  return result;
}

static napi_value keylog(napi_env env, struct connection *c) {
  napi_value result = inspect_bytes(env, &c->keylog);
  bytes_free(&c->keylog);
  return result;
}

napi_value inspect(napi_env env, struct connection *c, int what) {
  SSL *ssl = c->ssl;
  switch (what) {
    case INSPECT_VERSION: return text(env, SSL_get_version(ssl));
    case INSPECT_CIPHER: return cipher(env, c);
    case INSPECT_PEER_CERTIFICATES: return peer_certificates(env, c);
    case INSPECT_CERTIFICATE: return der(env, SSL_get_certificate(ssl));
    case INSPECT_SESSION: return session(env, c);
    case INSPECT_FINISHED: return finished(env, c, false);
    case INSPECT_PEER_FINISHED: return finished(env, c, true);
    case INSPECT_VERIFY_RESULT: return verify_answer(env, c);
    case INSPECT_ALPN: return alpn(env, c);
    case INSPECT_SERVERNAME: return text(env, SSL_get_servername(ssl, 0));
    case INSPECT_IS_REUSED: return integer(env, SSL_session_reused(ssl));
    case INSPECT_EPHEMERAL_KEY: return ephemeral_key(env, c);
    case INSPECT_SHARED_SIGALGS: return shared_sigalgs(env, c);
    case INSPECT_TICKET: return ticket(env, c);
    case INSPECT_HELLO: return hello(env, c);
    case INSPECT_NEW_SESSIONS: return new_sessions(env, c);
    case INSPECT_KEYLOG: return keylog(env, c);
    case INSPECT_OCSP: return inspect_bytes(env, &c->ocsp);
    case INSPECT_IS_OCSP_REQUESTED: return integer(env, SSL_ctrl(ssl, SSL_CTRL_GET_STATUS_TYPE, 0, NULL) == TLS_STATUS_OCSP);
  }
  return NULL;
}
