/* What is asked of a connection, and what it is told before and during its handshake. src/tls/native.ts has the numbers. */
#ifndef MILLRACE_TLS_INSPECT_H
#define MILLRACE_TLS_INSPECT_H

#include <node_api.h>

#include "tls.h"

enum configure {
  CONFIGURE_VERIFY = 0, /* bits: 1 ask the peer for a certificate, 2 refuse a client without one */
  CONFIGURE_SERVERNAME, /* with a zero behind it */
  CONFIGURE_ALPN, /* protocols with their lengths; value 1: what was chosen, none is a refusal */
  CONFIGURE_SESSION, CONFIGURE_OCSP_REQUEST, CONFIGURE_OCSP_RESPONSE, CONFIGURE_WANTS, /* bits: EVENT_* */
  CONFIGURE_RESUME, /* the answer to EVENT_HELLO or EVENT_CERTIFICATE is in place */
  CONFIGURE_LOADED_SESSION, CONFIGURE_MAX_FRAGMENT, CONFIGURE_CONTEXT
};

enum inspect {
  INSPECT_VERSION = 0, INSPECT_CIPHER, INSPECT_PEER_CERTIFICATES, INSPECT_CERTIFICATE, INSPECT_SESSION, INSPECT_FINISHED,
  INSPECT_PEER_FINISHED, INSPECT_VERIFY_RESULT, INSPECT_ALPN, INSPECT_SERVERNAME, INSPECT_IS_REUSED, INSPECT_EPHEMERAL_KEY,
  INSPECT_SHARED_SIGALGS, INSPECT_TICKET, INSPECT_HELLO, INSPECT_NEW_SESSIONS, INSPECT_KEYLOG, INSPECT_OCSP,
  INSPECT_IS_OCSP_REQUESTED
};

bool configure(struct connection *c, int what, int value, struct bytes bytes);
napi_value inspect(napi_env env, struct connection *c, int what);
napi_value inspect_bytes(napi_env env, const struct bytes *bytes);
napi_value inspect_failure(napi_env env, const struct failure *failure);

#endif
