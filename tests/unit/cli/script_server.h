/* A server for tests of the client: it answers as a script says, one step a request, and notes what it was asked.
 *
 * It runs on a thread of its own on a free port of 127.0.0.1. A step may read only a part of the body and cut the
 * connection, which is how a broken network looks to the client. */
#ifndef TESTS_CLI_SCRIPT_SERVER_H
#define TESTS_CLI_SCRIPT_SERVER_H

#include <pthread.h>

#include "base/buf.h"

struct script_step {
    const char *answer; /* status line, headers, body as they go over the wire; NULL: cut the connection without one */
    size_t answer_length; /* 0: strlen */
    long body_read;       /* bytes of the body to read before that; -1: all of it */
};

struct script_request {
    char head[2048]; /* request line and headers */
    struct sw_buf body;
};

struct script_server {
    const struct script_step *steps;
    size_t step_count;
    struct script_request *requests; /* as many as there were */
    size_t request_count;
    int listener;
    char url[64];
    pthread_t thread;
};

/* steps are borrowed until stop. */
void script_server_start(struct script_server *server, const struct script_step *steps, size_t count);
/* Waits until every step was taken. The requests stay until deinit. */
void script_server_stop(struct script_server *server);
void script_server_deinit(struct script_server *server);

#endif
