/* A TCP proxy before the S3 server that cuts connections, or answers itself: see the fields that tests set. */
#ifndef TESTS_ARTIFACT_PROXY_H
#define TESTS_ARTIFACT_PROXY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { PROXY_CONNECTIONS_MAX = 256, PROXY_CANNED_MAX = 16 };

struct proxy {
    /* set before requests are made */
    const char *canned[PROXY_CANNED_MAX]; /* whole answers to the first connections; NULL: passed on */
    uint64_t cut_after;                   /* bytes of one answer; then the connection is closed */
    const char *cut_method;               /* only answers to these requests; NULL: to any */
    unsigned cuts;                        /* so many times */
    /* read with proxy_lock held, or after proxy_stop */
    uint64_t answered; /* bytes of answers passed on */
    unsigned connections, fetches, ranges;
    char last_head[8192]; /* of the last request seen */

    char endpoint[64];
    pthread_mutex_t lock;
    int listener, upstream_port;
    pthread_t acceptor;
    pthread_t threads[PROXY_CONNECTIONS_MAX];
    int clients[PROXY_CONNECTIONS_MAX];
    bool stopping;
};

void proxy_start(struct proxy *proxy, const char *upstream); /* "http://127.0.0.1:PORT" */
void proxy_stop(struct proxy *proxy);

#endif
