/* A non-blocking connection, plain or TLS (OpenSSL on the socket itself). Errors leave a reason for people. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <arpa/inet.h>
#include <unistd.h>

#include "load/load_internal.h"

static enum sw_io fail(struct sw_transport *t, const char *what, const char *why) {
    snprintf(t->reason, sizeof t->reason, "%s%s%s", what, *what ? ": " : "", why);
    return SW_IO_ERROR;
}

/* --- TLS ---------------------------------------------------------------------------------------------------------- */

sw_status sw_tls_context(bool insecure, SSL_CTX **ret, struct sw_error *err) {
    static const unsigned char http11[] = "\x08http/1.1";
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context) {
        return sw_fail(err, SW_E_IO, "TLS cannot be set up");
    }
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_mode(context,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF); /* framing tells whether an answer is whole */
    (void)SSL_CTX_set_alpn_protos(context, http11, sizeof http11 - 1);
    SSL_CTX_set_verify(context, insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    if (!insecure && SSL_CTX_set_default_verify_paths(context) != 1) {
        SSL_CTX_free(context);
        return sw_fail(err, SW_E_IO, "the certificates that this machine trusts cannot be read");
    }
    *ret = context;
    return SW_OK;
}

static bool is_address(const char *host) {
    struct in6_addr any;
    return inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1;
}

static enum sw_io start_tls(struct sw_transport *t, SSL_CTX *context, const char *host) {
    t->ssl = SSL_new(context);
    if (!t->ssl || SSL_set_fd(t->ssl, t->fd) != 1) {
        return fail(t, "TLS", "no memory");
    }
    SSL_set_connect_state(t->ssl);
    if (!is_address(host)) {
        (void)SSL_set_tlsext_host_name(t->ssl, host);
        return SSL_set1_host(t->ssl, host) == 1 ? SW_IO_OK : fail(t, "TLS", "the host's name cannot be checked");
    }
    X509_VERIFY_PARAM *rules = SSL_get0_param(t->ssl);
    return X509_VERIFY_PARAM_set1_ip_asc(rules, host) == 1 ? SW_IO_OK : fail(t, "TLS", "the address cannot be checked");
}

/* What a call of OpenSSL that gave `rc` means. */
static enum sw_io tls_result(struct sw_transport *t, int rc) {
    int saved = errno;
    int kind = SSL_get_error(t->ssl, rc);
    t->wants_write = kind == SSL_ERROR_WANT_WRITE;
    if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE) {
        return SW_IO_AGAIN;
    }
    if (kind == SSL_ERROR_ZERO_RETURN) {
        return SW_IO_END;
    }
    unsigned long code = ERR_peek_last_error();
    ERR_clear_error();
    if (kind == SSL_ERROR_SYSCALL) {
        return fail(t, "", saved ? strerror(saved) : "the connection ended");
    }
    long verified = SSL_get_verify_result(t->ssl);
    t->tls_failed = true;
    if (verified != X509_V_OK && SSL_get_verify_mode(t->ssl) != SSL_VERIFY_NONE) {
        return fail(t, "certificate", X509_verify_cert_error_string(verified));
    }
    const char *text = ERR_reason_error_string(code);
    return fail(t, "TLS", text ? text : "unknown fault");
}

/* --- connecting --------------------------------------------------------------------------------------------------- */

enum sw_io sw_transport_open(struct sw_transport *t, const struct sw_address *address, SSL_CTX *tls, const char *host) {
    int yes = 1;
    *t = (struct sw_transport){.fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    if (t->fd < 0) {
        return fail(t, "socket", strerror(errno));
    }
    (void)setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (tls && start_tls(t, tls, host) != SW_IO_OK) {
        t->tls_failed = true;
        return SW_IO_ERROR;
    }
    if (connect(t->fd, (const struct sockaddr *)&address->storage, address->size) == 0) {
        t->connected = true;
        return sw_transport_continue(t);
    }
    t->wants_write = true;
    return errno == EINPROGRESS || errno == EINTR ? SW_IO_AGAIN : fail(t, "", strerror(errno));
}

enum sw_io sw_transport_continue(struct sw_transport *t) {
    if (!t->connected) {
        int fault = 0;
        struct sockaddr_storage peer;
        socklen_t size = sizeof fault, peer_size = sizeof peer;
        if (getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &fault, &size) != 0 || fault) {
            return fail(t, "", strerror(fault ? fault : errno));
        }
        if (getpeername(t->fd, (struct sockaddr *)&peer, &peer_size) != 0) {
            return SW_IO_AGAIN; /* woken for nothing */
        }
        t->connected = true;
    }
    if (!t->ssl) {
        t->wants_write = false;
        return SW_IO_OK;
    }
    ERR_clear_error();
    errno = 0;
    int rc = SSL_do_handshake(t->ssl);
    if (rc == 1) {
        t->wants_write = false;
        return SW_IO_OK;
    }
    enum sw_io io = tls_result(t, rc);
    if (io == SW_IO_END) {
        t->tls_failed = true;
        return fail(t, "TLS", "closed during the handshake");
    }
    return io;
}

/* --- bytes -------------------------------------------------------------------------------------------------------- */

enum sw_io sw_transport_read(struct sw_transport *t, char *data, size_t size, size_t *ret_len) {
    if (t->ssl) {
        ERR_clear_error();
        errno = 0;
        int rc = SSL_read_ex(t->ssl, data, size, ret_len);
        return rc == 1 ? SW_IO_OK : tls_result(t, rc);
    }
    ssize_t n = recv(t->fd, data, size, 0);
    if (n > 0) {
        *ret_len = (size_t)n;
        return SW_IO_OK;
    }
    if (n == 0) {
        return SW_IO_END;
    }
    return errno == EAGAIN || errno == EINTR ? SW_IO_AGAIN : fail(t, "", strerror(errno));
}

enum sw_io sw_transport_write(struct sw_transport *t, const char *data, size_t len, size_t *ret_len) {
    if (t->ssl) {
        ERR_clear_error();
        errno = 0;
        size_t n = 0;
        int rc = SSL_write_ex(t->ssl, data, len, &n);
        *ret_len = rc == 1 ? n : 0;
        return rc == 1 ? SW_IO_OK : tls_result(t, rc);
    }
    ssize_t n = send(t->fd, data, len, MSG_NOSIGNAL);
    if (n >= 0) {
        t->wants_write = false;
        *ret_len = (size_t)n;
        return SW_IO_OK;
    }
    t->wants_write = true;
    return errno == EAGAIN || errno == EINTR ? SW_IO_AGAIN : fail(t, "", strerror(errno));
}

bool sw_transport_has_more(const struct sw_transport *t) {
    return t->ssl && SSL_pending(t->ssl) > 0;
}

void sw_transport_close(struct sw_transport *t) {
    if (t->ssl) {
        SSL_free(t->ssl);
        t->ssl = NULL;
    }
    if (t->fd >= 0) {
        close(t->fd);
        t->fd = -1;
    }
}
