/* A server for tests of the load engine: a thread for each connection, which does what the test says with each request.
 *
 * On a free port of 127.0.0.1. Connections stay open between requests unless the test's function ends them. */
#ifndef TESTS_LOAD_ANSWERING_SERVER_H
#define TESTS_LOAD_ANSWERING_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { ANSWERING_CONNECTIONS_MAX = 256 };

struct answering_server;

/* One request has come, `number` of all (0, 1, ...); path: NUL-terminated. Returns whether the connection goes on. */
typedef bool answer_function(struct answering_server *server, int fd, uint64_t number, const char *path);

struct answering_server {
    answer_function *answer;
    void *arg; /* the test's */
    int listener;
    uint16_t port;
    atomic_ullong requests;
    pthread_t thread;
    pthread_mutex_t lock;
    int fds[ANSWERING_CONNECTIONS_MAX];
    pthread_t threads[ANSWERING_CONNECTIONS_MAX];
    size_t connections; /* ever */
    bool stopping;
};

void answering_server_start(struct answering_server *server, answer_function *answer, void *arg);
void answering_server_stop(struct answering_server *server); /* ends every connection, waits for the threads */

void answer_text(int fd, const char *text);
answer_function answer_ok;    /* "200 OK" with the body "ok" */
answer_function answer_never; /* keeps the connection and says nothing */

#endif
