/* The functions of OpenSSL that Node.js exports and that we use, declared by hand: a user's machine has no headers. All are
 * weak, so that a Node without one of them still loads this part, which then says which one it was (tls.c, `missing`).
 * Signatures and constants are those of OpenSSL 3.0, and the same in every 3.x: functions removed from a release would be a
 * new major version. docs/decisions/0080-tls-openssl.md
 */
#ifndef MILLRACE_OPENSSL_H
#define MILLRACE_OPENSSL_H

#include <stddef.h>
#include <stdint.h>

typedef struct ssl_st SSL;
typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_session_st SSL_SESSION;
typedef struct ssl_method_st SSL_METHOD;
typedef struct ssl_cipher_st SSL_CIPHER;
typedef struct bio_st BIO;
typedef struct bio_method_st BIO_METHOD;
typedef struct x509_st X509;
typedef struct X509_crl_st X509_CRL;
typedef struct X509_name_st X509_NAME;
typedef struct x509_store_st X509_STORE;
typedef struct x509_store_ctx_st X509_STORE_CTX;
typedef struct evp_pkey_st EVP_PKEY;
typedef struct evp_cipher_st EVP_CIPHER;
typedef struct evp_cipher_ctx_st EVP_CIPHER_CTX;
typedef struct evp_md_st EVP_MD;
typedef struct hmac_ctx_st HMAC_CTX;
typedef struct engine_st ENGINE;
typedef struct PKCS12_st PKCS12;
typedef struct stack_st STACK;

typedef int password_cb(char *out, int size, int writing, void *data);
typedef int verify_cb(int ok, X509_STORE_CTX *);

/* type, name, arguments */
#define OPENSSL_FUNCTIONS(F)                                                                                         \
  F(unsigned long, OpenSSL_version_num, (void))                                                                      \
  F(unsigned long, ERR_peek_error, (void))                                                                           \
  F(void, ERR_clear_error, (void))                                                                                   \
  F(void, ERR_print_errors, (BIO *))                                                                                 \
  F(const char *, ERR_lib_error_string, (unsigned long))                                                             \
  F(const char *, ERR_reason_error_string, (unsigned long))                                                          \
  F(void *, CRYPTO_malloc, (size_t, const char *, int))                                                              \
  F(void, CRYPTO_free, (void *, const char *, int))                                                                  \
  F(void, OPENSSL_cleanse, (void *, size_t))                                                                         \
  F(int, RAND_bytes, (unsigned char *, int))                                                                         \
  F(int, OPENSSL_sk_num, (const STACK *))                                                                            \
  F(void *, OPENSSL_sk_value, (const STACK *, int))                                                                  \
  F(void, OPENSSL_sk_pop_free, (STACK *, void (*)(void *)))                                                          \
  F(BIO_METHOD *, BIO_meth_new, (int, const char *))                                                                 \
  F(void, BIO_meth_free, (BIO_METHOD *))                                                                             \
  F(int, BIO_meth_set_write, (BIO_METHOD *, int (*)(BIO *, const char *, int)))                                      \
  F(int, BIO_meth_set_read, (BIO_METHOD *, int (*)(BIO *, char *, int)))                                             \
  F(int, BIO_meth_set_ctrl, (BIO_METHOD *, long (*)(BIO *, int, long, void *)))                                      \
  F(BIO *, BIO_new, (const BIO_METHOD *))                                                                            \
  F(const BIO_METHOD *, BIO_s_mem, (void))                                                                           \
  F(BIO *, BIO_new_mem_buf, (const void *, int))                                                                     \
  F(void, BIO_set_data, (BIO *, void *))                                                                             \
  F(void *, BIO_get_data, (BIO *))                                                                                   \
  F(void, BIO_set_init, (BIO *, int))                                                                                \
  F(void, BIO_set_flags, (BIO *, int))                                                                               \
  F(void, BIO_clear_flags, (BIO *, int))                                                                             \
  F(long, BIO_ctrl, (BIO *, int, long, void *))                                                                      \
  F(int, BIO_free, (BIO *))                                                                                          \
  F(X509 *, PEM_read_bio_X509_AUX, (BIO *, X509 **, password_cb *, void *))                                          \
  F(X509 *, PEM_read_bio_X509, (BIO *, X509 **, password_cb *, void *))                                              \
  F(X509_CRL *, PEM_read_bio_X509_CRL, (BIO *, X509_CRL **, password_cb *, void *))                                  \
  F(EVP_PKEY *, PEM_read_bio_PrivateKey, (BIO *, EVP_PKEY **, password_cb *, void *))                                \
  F(EVP_PKEY *, PEM_read_bio_Parameters, (BIO *, EVP_PKEY **))                                                       \
  F(PKCS12 *, d2i_PKCS12_bio, (BIO *, PKCS12 **))                                                                    \
  F(int, PKCS12_parse, (PKCS12 *, const char *, EVP_PKEY **, X509 **, STACK **))                                     \
  F(void, PKCS12_free, (PKCS12 *))                                                                                   \
  F(void, X509_free, (X509 *))                                                                                       \
  F(int, X509_up_ref, (X509 *))                                                                                      \
  F(int, i2d_X509, (const X509 *, unsigned char **))                                                                 \
  F(int, X509_check_issued, (X509 *, X509 *))                                                                        \
  F(int, X509_cmp, (const X509 *, const X509 *))                                                                     \
  F(const char *, X509_verify_cert_error_string, (long))                                                             \
  F(void, X509_CRL_free, (X509_CRL *))                                                                               \
  F(int, X509_STORE_up_ref, (X509_STORE *))                                                                          \
  F(int, X509_STORE_add_cert, (X509_STORE *, X509 *))                                                                \
  F(int, X509_STORE_add_crl, (X509_STORE *, X509_CRL *))                                                             \
  F(int, X509_STORE_set_flags, (X509_STORE *, unsigned long))                                                        \
  F(X509_STORE_CTX *, X509_STORE_CTX_new, (void))                                                                    \
  F(int, X509_STORE_CTX_init, (X509_STORE_CTX *, X509_STORE *, X509 *, STACK *))                                     \
  F(int, X509_STORE_CTX_get1_issuer, (X509 **, X509_STORE_CTX *, X509 *))                                            \
  F(void, X509_STORE_CTX_free, (X509_STORE_CTX *))                                                                   \
  F(void, EVP_PKEY_free, (EVP_PKEY *))                                                                               \
  F(int, EVP_PKEY_get_id, (const EVP_PKEY *))                                                                        \
  F(int, EVP_PKEY_get_bits, (const EVP_PKEY *))                                                                      \
  F(int, EVP_PKEY_get_group_name, (const EVP_PKEY *, char *, size_t, size_t *))                                      \
  F(const char *, OBJ_nid2sn, (int))                                                                                 \
  F(const EVP_CIPHER *, EVP_aes_128_cbc, (void))                                                                     \
  F(const EVP_MD *, EVP_sha256, (void))                                                                              \
  F(int, EVP_EncryptInit_ex, (EVP_CIPHER_CTX *, const EVP_CIPHER *, ENGINE *, const unsigned char *, const unsigned char *)) \
  F(int, EVP_DecryptInit_ex, (EVP_CIPHER_CTX *, const EVP_CIPHER *, ENGINE *, const unsigned char *, const unsigned char *)) \
  F(int, HMAC_Init_ex, (HMAC_CTX *, const void *, int, const EVP_MD *, ENGINE *))                                    \
  F(const SSL_METHOD *, TLS_method, (void))                                                                          \
  F(SSL_CTX *, SSL_CTX_new, (const SSL_METHOD *))                                                                    \
  F(void, SSL_CTX_free, (SSL_CTX *))                                                                                 \
  F(long, SSL_CTX_ctrl, (SSL_CTX *, int, long, void *))                                                              \
  F(long, SSL_CTX_callback_ctrl, (SSL_CTX *, int, void (*)(void)))                                                   \
  F(uint64_t, SSL_CTX_set_options, (SSL_CTX *, uint64_t))                                                            \
  F(int, SSL_CTX_set_ex_data, (SSL_CTX *, int, void *))                                                              \
  F(void *, SSL_CTX_get_ex_data, (const SSL_CTX *, int))                                                             \
  F(int, SSL_CTX_set_cipher_list, (SSL_CTX *, const char *))                                                         \
  F(int, SSL_CTX_set_ciphersuites, (SSL_CTX *, const char *))                                                        \
  F(int, SSL_CTX_use_certificate, (SSL_CTX *, X509 *))                                                               \
  F(int, SSL_CTX_use_PrivateKey, (SSL_CTX *, EVP_PKEY *))                                                            \
  F(X509_STORE *, SSL_CTX_get_cert_store, (const SSL_CTX *))                                                         \
  F(void, SSL_CTX_set_cert_store, (SSL_CTX *, X509_STORE *))                                                         \
  F(int, SSL_CTX_add_client_CA, (SSL_CTX *, X509 *))                                                                 \
  F(int, SSL_CTX_set_session_id_context, (SSL_CTX *, const unsigned char *, unsigned int))                           \
  F(long, SSL_CTX_set_timeout, (SSL_CTX *, long))                                                                    \
  F(int, SSL_CTX_set0_tmp_dh_pkey, (SSL_CTX *, EVP_PKEY *))                                                          \
  F(void, SSL_CTX_set_keylog_callback, (SSL_CTX *, void (*)(const SSL *, const char *)))                             \
  F(void, SSL_CTX_set_client_hello_cb, (SSL_CTX *, int (*)(SSL *, int *, void *), void *))                           \
  F(void, SSL_CTX_set_alpn_select_cb, (SSL_CTX *, int (*)(SSL *, const unsigned char **, unsigned char *,            \
                                                          const unsigned char *, unsigned int, void *), void *))     \
  F(void, SSL_CTX_sess_set_new_cb, (SSL_CTX *, int (*)(SSL *, SSL_SESSION *)))                                       \
  F(void, SSL_CTX_sess_set_get_cb, (SSL_CTX *, SSL_SESSION *(*)(SSL *, const unsigned char *, int, int *)))          \
  F(STACK *, SSL_CTX_get_client_CA_list, (const SSL_CTX *))                                                          \
  F(STACK *, SSL_dup_CA_list, (const STACK *))                                                                       \
  F(void, SSL_set_client_CA_list, (SSL *, STACK *))                                                                  \
  F(SSL *, SSL_new, (SSL_CTX *))                                                                                     \
  F(void, SSL_free, (SSL *))                                                                                         \
  F(SSL_CTX *, SSL_set_SSL_CTX, (SSL *, SSL_CTX *))                                                                  \
  F(SSL_CTX *, SSL_get_SSL_CTX, (const SSL *))                                                                       \
  F(int, SSL_set_ex_data, (SSL *, int, void *))                                                                      \
  F(void *, SSL_get_ex_data, (const SSL *, int))                                                                     \
  F(void, SSL_set_bio, (SSL *, BIO *, BIO *))                                                                        \
  F(void, SSL_set_accept_state, (SSL *))                                                                             \
  F(void, SSL_set_connect_state, (SSL *))                                                                            \
  F(void, SSL_set_verify, (SSL *, int, verify_cb *))                                                                 \
  F(void, SSL_set_cert_cb, (SSL *, int (*)(SSL *, void *), void *))                                                  \
  F(long, SSL_ctrl, (SSL *, int, long, void *))                                                                      \
  F(int, SSL_set_alpn_protos, (SSL *, const unsigned char *, unsigned int))                                          \
  F(int, SSL_do_handshake, (SSL *))                                                                                  \
  F(int, SSL_read_ex, (SSL *, void *, size_t, size_t *))                                                             \
  F(int, SSL_write_ex, (SSL *, const void *, size_t, size_t *))                                                      \
  F(int, SSL_free_buffers, (SSL *))                                                                                  \
  F(int, SSL_has_pending, (const SSL *))                                                                             \
  F(int, SSL_shutdown, (SSL *))                                                                                      \
  F(int, SSL_get_error, (const SSL *, int))                                                                          \
  F(const char *, SSL_get_version, (const SSL *))                                                                    \
  F(const char *, SSL_get_servername, (const SSL *, int))                                                            \
  F(void, SSL_get0_alpn_selected, (const SSL *, const unsigned char **, unsigned int *))                             \
  F(const SSL_CIPHER *, SSL_get_current_cipher, (const SSL *))                                                       \
  F(const char *, SSL_CIPHER_get_name, (const SSL_CIPHER *))                                                         \
  F(const char *, SSL_CIPHER_standard_name, (const SSL_CIPHER *))                                                    \
  F(const char *, SSL_CIPHER_get_version, (const SSL_CIPHER *))                                                      \
  F(X509 *, SSL_get1_peer_certificate, (const SSL *))                                                                \
  F(STACK *, SSL_get_peer_cert_chain, (const SSL *))                                                                 \
  F(X509 *, SSL_get_certificate, (const SSL *))                                                                      \
  F(long, SSL_get_verify_result, (const SSL *))                                                                      \
  F(size_t, SSL_get_finished, (const SSL *, void *, size_t))                                                         \
  F(size_t, SSL_get_peer_finished, (const SSL *, void *, size_t))                                                    \
  F(SSL_SESSION *, SSL_get_session, (const SSL *))                                                                   \
  F(int, SSL_set_session, (SSL *, SSL_SESSION *))                                                                    \
  F(int, SSL_session_reused, (const SSL *))                                                                          \
  F(int, SSL_export_keying_material, (SSL *, unsigned char *, size_t, const char *, size_t, const unsigned char *, size_t, int)) \
  F(int, SSL_get_shared_sigalgs, (SSL *, int, int *, int *, int *, unsigned char *, unsigned char *))                \
  F(size_t, SSL_client_hello_get0_session_id, (SSL *, const unsigned char **))                                       \
  F(int, SSL_client_hello_get0_ext, (SSL *, unsigned int, const unsigned char **, size_t *))                         \
  F(int, i2d_SSL_SESSION, (const SSL_SESSION *, unsigned char **))                                                   \
  F(SSL_SESSION *, d2i_SSL_SESSION, (SSL_SESSION **, const unsigned char **, long))                                  \
  F(void, SSL_SESSION_free, (SSL_SESSION *))                                                                         \
  F(const unsigned char *, SSL_SESSION_get_id, (const SSL_SESSION *, unsigned int *))                                \
  F(void, SSL_SESSION_get0_ticket, (const SSL_SESSION *, const unsigned char **, size_t *))                          \
  F(int, SSL_SESSION_get_protocol_version, (const SSL_SESSION *))

#define DECLARE_OPTIONAL(type, name, arguments) extern type name arguments __attribute__((weak));
#define DECLARE(type, name, arguments) extern type name arguments __attribute__((weak));
OPENSSL_FUNCTIONS(DECLARE)
#undef DECLARE

/* OpenSSL 3.2: NULL in Node 20 */
DECLARE_OPTIONAL(const char *, SSL_get0_group_name, (SSL *))

enum { /* ssl.h, tls1.h, bio.h, x509_vfy.h */
  SSL_ERROR_NONE = 0, SSL_ERROR_SSL = 1, SSL_ERROR_WANT_READ = 2, SSL_ERROR_WANT_X509_LOOKUP = 4, SSL_ERROR_SYSCALL = 5,
  SSL_ERROR_ZERO_RETURN = 6, SSL_ERROR_WANT_CLIENT_HELLO_CB = 11,
  SSL_VERIFY_NONE = 0, SSL_VERIFY_PEER = 1, SSL_VERIFY_FAIL_IF_NO_PEER_CERT = 2,
  SSL_SESS_CACHE_BOTH = 3, SSL_SESS_CACHE_NO_INTERNAL = 0x300, SSL_SESS_CACHE_NO_AUTO_CLEAR = 0x80,
  SSL_RECEIVED_SHUTDOWN = 2,
  SSL_CTRL_MODE = 33, SSL_CTRL_SET_SESS_CACHE_MODE = 44, SSL_CTRL_SET_MAX_SEND_FRAGMENT = 52,
  SSL_CTRL_SET_SERVERNAME_CB = 53,
  SSL_CTRL_SET_TLSEXT_HOSTNAME = 55, SSL_CTRL_SET_STATUS_CB = 63, SSL_CTRL_SET_STATUS_TYPE = 65,
  SSL_CTRL_GET_STATUS_RESP = 70, SSL_CTRL_SET_STATUS_RESP = 71, SSL_CTRL_SET_TICKET_KEY_CB = 72,
  SSL_CTRL_CHAIN = 88, SSL_CTRL_CHAIN_CERT = 89, SSL_CTRL_SET_GROUPS_LIST = 92, SSL_CTRL_SET_SIGALGS_LIST = 98,
  SSL_CTRL_SET_VERIFY_CERT_STORE = 106, SSL_CTRL_GET_PEER_TMP_KEY = 109, SSL_CTRL_SET_DH_AUTO = 118, SSL_CTRL_SET_MIN_PROTO = 123, SSL_CTRL_SET_MAX_PROTO = 124,
  SSL_CTRL_GET_STATUS_TYPE = 127,
  TLS_STATUS_OCSP = 1, TLSEXT_ALPN = 16, TLSEXT_SNI = 0, TLSEXT_TICKET = 35,
  TLSEXT_ERR_OK = 0, TLSEXT_ERR_ALERT_FATAL = 2, TLSEXT_ERR_NOACK = 3,
  SSL_CLIENT_HELLO_SUCCESS = 1, SSL_CLIENT_HELLO_RETRY = -1,
  BIO_FLAGS_READ = 1, BIO_FLAGS_RETRY = 8, BIO_CTRL_INFO = 3, BIO_CTRL_EOF = 2, BIO_CTRL_FLUSH = 11, BIO_SOURCE_SINK = 0x400,
  X509_CRL_CHECK = 0x4, X509_CRL_CHECK_ALL = 0x8, X509_PARTIAL_CHAIN = 0x80000,
  X509_OK = 0, X509_NO_ISSUER = 2, X509_NO_ISSUER_LOCALLY = 20,
  EVP_RSA = 6, EVP_DH = 28, EVP_EC = 408, EVP_X25519 = 1034, EVP_X448 = 1035,
  TLS1_3 = 0x304, PEM_R_NO_START_LINE = 108, ERR_LIB_PEM_ = 9,
};
#define SSL_OP_NO_COMPRESSION ((uint64_t)1 << 17)
#define SSL_OP_NO_RENEGOTIATION ((uint64_t)1 << 30)

#endif
