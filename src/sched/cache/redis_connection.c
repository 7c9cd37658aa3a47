/* A socket that never blocks, plain or TLS by OpenSSL on the socket itself. Runs on `sw-redis`, where SIGPIPE is blocked
 * like every signal. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include "sched/cache/redis_internal.h"

static enum redis_io fail(struct redis_connection *c, const char *what, const char *why) {
    snprintf(c->reason, sizeof c->reason, "%s%s%s", what, *what ? ": " : "", why);
    return REDIS_IO_ERROR;
}

/* --- the context of TLS ------------------------------------------------------------------------------------------- */

static sw_status refuse_file(struct sw_error *err, const char *what, const char *path) {
    const char *why = ERR_reason_error_string(ERR_peek_error());
    char text[100];
    snprintf(text, sizeof text, "%s", why ? why : "unknown fault");
    ERR_clear_error();
    return sw_fail(err, SW_E_INVALID_ARGUMENT, "TLS of Redis: %s %s cannot be used: %s", what, path, text);
}

static sw_status load_files(SSL_CTX *context, const struct sw_redis_options *o, struct sw_error *err) {
    if (o->tls_ca && SSL_CTX_load_verify_locations(context, o->tls_ca, NULL) != 1) {
        return refuse_file(err, "the file of authorities", o->tls_ca);
    }
    if (!o->tls_ca && !o->tls_insecure && SSL_CTX_set_default_verify_paths(context) != 1) {
        return sw_fail(err, SW_E_IO, "the certificates that this machine trusts cannot be read");
    }
    if (!o->tls_cert != !o->tls_key) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "TLS of Redis: a certificate and its key go together");
    }
    if (o->tls_cert && SSL_CTX_use_certificate_chain_file(context, o->tls_cert) != 1) {
        return refuse_file(err, "the certificate", o->tls_cert);
    }
    if (o->tls_key && (SSL_CTX_use_PrivateKey_file(context, o->tls_key, SSL_FILETYPE_PEM) != 1 ||
                       SSL_CTX_check_private_key(context) != 1)) {
        return refuse_file(err, "the key", o->tls_key);
    }
    return SW_OK;
}

/* A key with a passphrase is refused, not asked for on the terminal. */
static int no_passphrase(char *buffer, int size, int writing, void *arg) {
    (void)buffer, (void)size, (void)writing, (void)arg;
    return -1;
}

sw_status redis_tls_create(const struct sw_redis_options *options, SSL_CTX **ret, struct sw_error *err) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context) {
        return sw_fail(err, SW_E_IO, "TLS cannot be set up");
    }
    SSL_CTX_set_default_passwd_cb(context, no_passphrase);
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_mode(context,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF); /* RESP tells whether an answer is whole */
    SSL_CTX_set_verify(context, options->tls_insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    ERR_clear_error();
    sw_status status = load_files(context, options, err);
    if (status) {
        SSL_CTX_free(context);
        return status;
    }
    *ret = context;
    return SW_OK;
}

/* --- one TLS connection ------------------------------------------------------------------------------------------- */

static bool name_is_checked(SSL *ssl, const char *name) {
    struct in6_addr any;
    if (inet_pton(AF_INET, name, &any) == 1 || inet_pton(AF_INET6, name, &any) == 1) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    }
    return SSL_set_tlsext_host_name(ssl, name) == 1 && SSL_set1_host(ssl, name) == 1;
}

static enum redis_io begin_tls(struct redis_connection *c, SSL_CTX *tls, const char *name) {
    c->ssl = SSL_new(tls);
    if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1) {
        return fail(c, "TLS", "no memory");
    }
    SSL_set_connect_state(c->ssl);
    return name_is_checked(c->ssl, name) ? REDIS_IO_OK : fail(c, "TLS", "the server's name cannot be checked");
}

/* What a call of OpenSSL that did not succeed means. */
static enum redis_io tls_result(struct redis_connection *c, int rc) {
    int saved = errno, kind = SSL_get_error(c->ssl, rc);
    unsigned long code = ERR_peek_last_error();
    ERR_clear_error();
    c->wants_write = kind == SSL_ERROR_WANT_WRITE;
    switch (kind) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return REDIS_IO_AGAIN;
    case SSL_ERROR_ZERO_RETURN: return REDIS_IO_END;
    case SSL_ERROR_SYSCALL: return saved ? fail(c, "", strerror(saved)) : REDIS_IO_END;
    default: break;
    }
    long verified = SSL_get_verify_result(c->ssl);
    if (verified != X509_V_OK && SSL_get_verify_mode(c->ssl) != SSL_VERIFY_NONE) {
        return fail(c, "certificate", X509_verify_cert_error_string(verified));
    }
    const char *text = ERR_reason_error_string(code);
    return fail(c, "TLS", text ? text : "unknown fault");
}

/* --- connecting --------------------------------------------------------------------------------------------------- */

enum redis_io redis_connection_open(struct redis_connection *c, const union redis_sockaddr *address, socklen_t size,
                                    SSL_CTX *tls, const char *name) {
    int yes = 1;
    *c = (struct redis_connection){.fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    if (c->fd < 0) {
        return fail(c, "socket", strerror(errno));
    }
    if (address->any.sa_family != AF_UNIX) {
        (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        (void)setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
        if (tls && begin_tls(c, tls, name) != REDIS_IO_OK) {
            return REDIS_IO_ERROR;
        }
    }
    if (connect(c->fd, &address->any, size) == 0) {
        c->connected = true;
        return redis_connection_continue(c);
    }
    c->wants_write = true;
    return errno == EINPROGRESS || errno == EINTR ? REDIS_IO_AGAIN : fail(c, "", strerror(errno));
}

static enum redis_io finish_connect(struct redis_connection *c) {
    int fault = 0;
    union redis_sockaddr peer;
    socklen_t size = sizeof fault, peer_size = sizeof peer;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &fault, &size) != 0 || fault) {
        return fail(c, "", strerror(fault ? fault : errno));
    }
    if (getpeername(c->fd, &peer.any, &peer_size) != 0) {
        return REDIS_IO_AGAIN; /* woken for nothing */
    }
    c->connected = true;
    return REDIS_IO_OK;
}

enum redis_io redis_connection_continue(struct redis_connection *c) {
    if (!c->connected) {
        enum redis_io io = finish_connect(c);
        if (io != REDIS_IO_OK) {
            return io;
        }
    }
    c->wants_write = false;
    if (c->ssl) {
        ERR_clear_error();
        errno = 0;
        int rc = SSL_do_handshake(c->ssl);
        if (rc != 1) {
            enum redis_io io = tls_result(c, rc);
            return io == REDIS_IO_END ? fail(c, "TLS", "closed during the handshake") : io;
        }
    }
    c->ready = true;
    return REDIS_IO_OK;
}

/* --- bytes -------------------------------------------------------------------------------------------------------- */

enum redis_io redis_connection_read(struct redis_connection *c, char *data, size_t size, size_t *ret_len) {
    if (c->ssl) {
        ERR_clear_error();
        errno = 0;
        int rc = SSL_read_ex(c->ssl, data, size, ret_len);
        return rc == 1 ? REDIS_IO_OK : tls_result(c, rc);
    }
    ssize_t n = recv(c->fd, data, size, 0);
    if (n > 0) {
        *ret_len = (size_t)n;
        return REDIS_IO_OK;
    }
    if (n == 0) {
        return REDIS_IO_END;
    }
    return errno == EAGAIN || errno == EINTR ? REDIS_IO_AGAIN : fail(c, "", strerror(errno));
}

enum redis_io redis_connection_write(struct redis_connection *c, const char *data, size_t len, size_t *ret_len) {
    if (c->ssl) {
        ERR_clear_error();
        errno = 0;
        int rc = SSL_write_ex(c->ssl, data, len, ret_len);
        c->wants_write = false;
        return rc == 1 ? REDIS_IO_OK : tls_result(c, rc);
    }
    ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL);
    c->wants_write = n < 0;
    if (n >= 0) {
        *ret_len = (size_t)n;
        return REDIS_IO_OK;
    }
    return errno == EAGAIN || errno == EINTR ? REDIS_IO_AGAIN : fail(c, "", strerror(errno));
}

void redis_connection_close(struct redis_connection *c) {
    if (c->ssl) {
        SSL_free(c->ssl);
    }
    if (c->fd >= 0) {
        close(c->fd);
    }
    *c = (struct redis_connection){.fd = -1};
}
