/* A context: certificates, keys, trust and limits, as Node's SecureContext has them. Each comes in one at a time; the order
 * is that of Node's configSecureContext, which has checked all of them before (src/tls/context.ts).
 */
#include "tls.h"

bool bytes_set(struct bytes *bytes, const void *data, size_t length) {
  bytes_free(bytes);
  return bytes_append(bytes, data, length);
}

bool bytes_append(struct bytes *bytes, const void *data, size_t length) {
  if (length == 0) return true;
  u8 *both = allocate(bytes->length + length);
  if (!both) return false;
  if (bytes->length) __builtin_memcpy(both, bytes->data, bytes->length);
  __builtin_memcpy(both + bytes->length, data, length);
  length += bytes->length;
  bytes_free(bytes);
  bytes->data = both;
  bytes->length = length;
  return true;
}

void bytes_free(struct bytes *bytes) {
  if (bytes->data) {
    OPENSSL_cleanse(bytes->data, bytes->length);
    release(bytes->data);
  }
  bytes->data = NULL;
  bytes->length = 0;
}

/* The same tickets as Node's SecureContext makes and takes (TicketCompatibilityCallback): servers of both can share keys. */
static int on_ticket(SSL *ssl, u8 *name, u8 *iv, EVP_CIPHER_CTX *cipher, HMAC_CTX *hmac, int encrypting);

struct context *context_open(int min_version, int max_version, uint64_t options) {
  struct context *context = allocate(sizeof *context);
  if (!context) return NULL;
  __builtin_memset(context, 0, sizeof *context);
  context->references = 1;
  SSL_CTX *ctx = context->ctx = SSL_CTX_new(TLS_method());
  if (!ctx || !SSL_CTX_ctrl(ctx, SSL_CTRL_SET_MIN_PROTO, min_version, NULL) ||
      !SSL_CTX_ctrl(ctx, SSL_CTRL_SET_MAX_PROTO, max_version, NULL) || !SSL_CTX_set_ex_data(ctx, 0, context) ||
      RAND_bytes(context->ticket_keys, TICKET_KEY_BYTES) != 1) {
    context_close(context);
    return NULL;
  }
  SSL_CTX_set_options(ctx, options | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_ctrl(ctx, SSL_CTRL_SET_SESS_CACHE_MODE,
               SSL_SESS_CACHE_BOTH | SSL_SESS_CACHE_NO_INTERNAL | SSL_SESS_CACHE_NO_AUTO_CLEAR, NULL);
  SSL_CTX_sess_set_new_cb(ctx, on_new_session);
  SSL_CTX_sess_set_get_cb(ctx, on_get_session);
  SSL_CTX_set_client_hello_cb(ctx, on_client_hello, NULL);
  SSL_CTX_set_alpn_select_cb(ctx, on_select_alpn, NULL);
  SSL_CTX_callback_ctrl(ctx, SSL_CTRL_SET_SERVERNAME_CB, (void (*)(void))on_servername);
  SSL_CTX_callback_ctrl(ctx, SSL_CTRL_SET_STATUS_CB, (void (*)(void))on_status);
  SSL_CTX_callback_ctrl(ctx, SSL_CTRL_SET_TICKET_KEY_CB, (void (*)(void))on_ticket);
  return context;
}

void context_close(struct context *context) {
  if (--context->references) return;
  if (context->ctx) SSL_CTX_free(context->ctx);
  bytes_free(&context->certificate);
  bytes_free(&context->issuer);
  OPENSSL_cleanse(context, sizeof *context);
  release(context);
}

static int on_ticket(SSL *ssl, u8 *name, u8 *iv, EVP_CIPHER_CTX *cipher, HMAC_CTX *hmac, int encrypting) {
  const struct context *context = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), 0);
  const u8 *keys = context->ticket_keys;
  if (encrypting) {
    __builtin_memcpy(name, keys, 16);
    if (RAND_bytes(iv, 16) != 1) return -1;
    if (EVP_EncryptInit_ex(cipher, EVP_aes_128_cbc(), NULL, keys + 32, iv) != 1) return -1;
  } else {
    if (__builtin_memcmp(name, keys, 16)) return 0; /* of other keys: a full handshake */
    if (EVP_DecryptInit_ex(cipher, EVP_aes_128_cbc(), NULL, keys + 32, iv) != 1) return -1;
  }
  return HMAC_Init_ex(hmac, keys + 16, 16, EVP_sha256(), NULL) == 1 ? 1 : -1;
}

/* ---- settings ---- */

static int give_passphrase(char *out, int size, int writing, void *data) {
  (void)writing;
  const char *passphrase = data;
  size_t length = passphrase ? text_length(passphrase) : 0;
  if (!passphrase || length > (size_t)size) return -1;
  __builtin_memcpy(out, passphrase, length);
  return (int)length;
}

static void keep_der(struct bytes *out, X509 *certificate) {
  u8 *der = NULL;
  int length = i2d_X509(certificate, &der);
  if (length > 0) bytes_set(out, der, (size_t)length);
  if (der) release(der);
}

/* The certificate, then those that lead to its root. */
static bool set_chain(struct context *context, X509 *certificate, X509 *const *others, u32 count) {
  if (SSL_CTX_use_certificate(context->ctx, certificate) != 1) return false;
  keep_der(&context->certificate, certificate);
  bytes_free(&context->issuer);
  SSL_CTX_ctrl(context->ctx, SSL_CTRL_CHAIN, 0, NULL); /* of this certificate: none yet */
  for (u32 i = 0; i < count; i++) {
    if (SSL_CTX_ctrl(context->ctx, SSL_CTRL_CHAIN_CERT, 1, others[i]) != 1) return false;
    if (!context->issuer.length && X509_check_issued(others[i], certificate) == X509_OK)
      keep_der(&context->issuer, others[i]);
  }
  if (context->issuer.length) return true;
  X509_STORE_CTX *store = X509_STORE_CTX_new();
  X509 *issuer = NULL;
  if (store && X509_STORE_CTX_init(store, SSL_CTX_get_cert_store(context->ctx), NULL, NULL) == 1 &&
      X509_STORE_CTX_get1_issuer(&issuer, store, certificate) == 1)
    keep_der(&context->issuer, issuer);
  X509_free(issuer);
  X509_STORE_CTX_free(store);
  ERR_clear_error(); /* an issuer that is not there is no failure */
  return true;
}

enum { MOST_CHAIN = 64 };

/* At the end of a list there is no further start line, which is no failure. */
static bool is_end_of_list(void) {
  unsigned long error = ERR_peek_error();
  bool is_end = ((error >> 23) & 0xff) == ERR_LIB_PEM_ && (error & 0x7fffff) == PEM_R_NO_START_LINE;
  if (is_end) ERR_clear_error();
  return is_end;
}

static bool set_certificate(struct context *context, BIO *bio) {
  X509 *chain[MOST_CHAIN];
  u32 count = 0;
  X509 *certificate = PEM_read_bio_X509_AUX(bio, NULL, give_passphrase, NULL);
  if (!certificate) return false;
  while (count < MOST_CHAIN && (chain[count] = PEM_read_bio_X509(bio, NULL, give_passphrase, NULL))) count++;
  bool is_whole = count < MOST_CHAIN && is_end_of_list();
  bool result = is_whole && set_chain(context, certificate, chain, count);
  for (u32 i = 0; i < count; i++) X509_free(chain[i]);
  X509_free(certificate);
  return result;
}

static bool set_key(struct context *context, BIO *bio, const char *passphrase) {
  EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, give_passphrase, (void *)passphrase);
  bool result = key && SSL_CTX_use_PrivateKey(context->ctx, key) == 1;
  EVP_PKEY_free(key);
  return result;
}

static bool add_ca(struct context *context, BIO *bio, bool names_it) {
  X509_STORE *store = SSL_CTX_get_cert_store(context->ctx);
  X509 *certificate;
  while ((certificate = PEM_read_bio_X509_AUX(bio, NULL, give_passphrase, NULL))) {
    X509_STORE_add_cert(store, certificate);
    if (names_it) SSL_CTX_add_client_CA(context->ctx, certificate);
    X509_free(certificate);
  }
  return is_end_of_list(); /* that no certificate was there is Node's business */
}

static bool add_crl(struct context *context, BIO *bio) {
  X509_CRL *crl = PEM_read_bio_X509_CRL(bio, NULL, give_passphrase, NULL);
  if (!crl) return false;
  X509_STORE *store = SSL_CTX_get_cert_store(context->ctx);
  bool result = X509_STORE_add_crl(store, crl) == 1 && X509_STORE_set_flags(store, X509_CRL_CHECK | X509_CRL_CHECK_ALL) == 1;
  X509_CRL_free(crl);
  return result;
}

static bool set_pfx(struct context *context, BIO *bio, const char *passphrase) {
  EVP_PKEY *key = NULL;
  X509 *certificate = NULL;
  STACK *others = NULL;
  X509 *chain[MOST_CHAIN] = { NULL };
  PKCS12 *pfx = d2i_PKCS12_bio(bio, NULL);
  bool result = pfx && PKCS12_parse(pfx, passphrase, &key, &certificate, &others) == 1 && key && certificate;
  int count = result && others ? OPENSSL_sk_num(others) : 0;
  if (count > MOST_CHAIN) result = false;
  if (result) {
    for (int i = 0; i < count; i++) chain[i] = OPENSSL_sk_value(others, i);
    result = set_chain(context, certificate, chain, (u32)count) && SSL_CTX_use_PrivateKey(context->ctx, key) == 1;
    for (int i = 0; result && i < count; i++) {
      X509_STORE_add_cert(SSL_CTX_get_cert_store(context->ctx), chain[i]);
      SSL_CTX_add_client_CA(context->ctx, chain[i]);
    }
  }
  if (others) OPENSSL_sk_pop_free(others, (void (*)(void *))X509_free);
  X509_free(certificate);
  EVP_PKEY_free(key);
  PKCS12_free(pfx);
  return result;
}

static bool set_dh(struct context *context, BIO *bio, bool is_automatic) {
  if (is_automatic) return SSL_CTX_ctrl(context->ctx, SSL_CTRL_SET_DH_AUTO, 1, NULL) == 1;
  EVP_PKEY *parameters = PEM_read_bio_Parameters(bio, NULL);
  if (!parameters) { /* as Node: DHE is not offered then */
    ERR_clear_error();
    return true;
  }
  if (SSL_CTX_set0_tmp_dh_pkey(context->ctx, parameters) == 1) return true;
  EVP_PKEY_free(parameters);
  return false;
}

/* Strings come with a terminating zero behind their last byte. */
bool context_set(struct context *context, int setting, struct bytes value, const char *passphrase, double number) {
  SSL_CTX *ctx = context->ctx;
  char *text = (char *)value.data;
  if (value.length > INT32_MAX) return false;
  ERR_clear_error();
  BIO *bio = setting <= CONTEXT_PFX || setting == CONTEXT_DH ? BIO_new_mem_buf(value.data, (int)value.length) : NULL;
  bool result = false;
  switch (setting) {
    case CONTEXT_CERTIFICATE: result = set_certificate(context, bio); break;
    case CONTEXT_KEY: result = set_key(context, bio, passphrase); break;
    case CONTEXT_CA: result = add_ca(context, bio, number != 0); break;
    case CONTEXT_CRL: result = add_crl(context, bio); break;
    case CONTEXT_PFX: result = set_pfx(context, bio, passphrase); break;
    case CONTEXT_DH: result = set_dh(context, bio, number != 0); break;
    case CONTEXT_CIPHERS: result = SSL_CTX_set_cipher_list(ctx, text) == 1; break;
    case CONTEXT_SUITES: result = SSL_CTX_set_ciphersuites(ctx, text) == 1; break;
    case CONTEXT_GROUPS: result = SSL_CTX_ctrl(ctx, SSL_CTRL_SET_GROUPS_LIST, 0, text) == 1; break;
    case CONTEXT_SIGALGS: result = SSL_CTX_ctrl(ctx, SSL_CTRL_SET_SIGALGS_LIST, 0, text) == 1; break;
    case CONTEXT_SESSION_ID_CONTEXT:
      result = SSL_CTX_set_session_id_context(ctx, value.data, (unsigned int)value.length) == 1;
      break;
    case CONTEXT_TICKET_KEYS:
      result = value.length == TICKET_KEY_BYTES;
      if (result) __builtin_memcpy(context->ticket_keys, value.data, TICKET_KEY_BYTES);
      break;
    case CONTEXT_TIMEOUT: SSL_CTX_set_timeout(ctx, (long)number); result = true; break;
    case CONTEXT_PARTIAL_CHAIN: result = X509_STORE_set_flags(SSL_CTX_get_cert_store(ctx), X509_PARTIAL_CHAIN) == 1; break;
    case CONTEXT_KEYLOG: SSL_CTX_set_keylog_callback(ctx, on_keylog); result = true; break;
  }
  if (bio) BIO_free(bio);
  return result;
}

/* The usual roots are parsed once for all contexts of a thread. */
void context_share_roots(struct context *context, const struct context *roots) {
  X509_STORE *store = SSL_CTX_get_cert_store(roots->ctx);
  X509_STORE_up_ref(store);
  SSL_CTX_set_cert_store(context->ctx, store);
}
