/* Reader of HTTP/1.1 answers, one piece of bytes at a time (RFC 9112).
 *
 * It finds where an answer ends and what its status is; texts of headers and the body are not kept. It never waits and
 * never reads: the caller gives bytes as they come, in pieces of any size, and the outcome does not depend on how they
 * were cut. Bytes behind the end of the answer are left to the caller, so answers that stand one behind another are read
 * one by one.
 *
 * Understood: Content-Length (repeated ones must agree), chunked with extensions and trailers, bodies that end with the
 * connection, answers that never have a body (to HEAD, 204, 304), any number of 1xx answers before the final one but at
 * most SW_RESPONSE_INTERIM_MAX, lines that end with LF alone. Refused: what RFC 9112 lets a reader take as a fault, such
 * as folded headers, blanks before a colon, both framings at once, and 101 (nobody asked to switch).
 *
 * Memory: a line that was cut is kept until its rest comes, at most SW_RESPONSE_HEAD_MAX bytes. */
#ifndef SW_LOAD_RESPONSE_H
#define SW_LOAD_RESPONSE_H

#include "base/buf.h"

enum { SW_RESPONSE_HEAD_MAX = 64 << 10, SW_RESPONSE_INTERIM_MAX = 32, SW_RESPONSE_SAMPLE_MAX = 160 };

enum sw_response_result {
    SW_RESPONSE_MORE,      /* all bytes taken; the answer goes on */
    SW_RESPONSE_DONE,      /* the answer is whole */
    SW_RESPONSE_BAD,       /* not HTTP as we know it: response->reason */
    SW_RESPONSE_TOO_LARGE, /* the body is, or will be, larger than the limit */
};

enum sw_response_state {
    SW_RESPONSE_STATUS_LINE,
    SW_RESPONSE_HEADERS,
    SW_RESPONSE_BODY,       /* `left` bytes */
    SW_RESPONSE_BODY_REST,  /* up to the end of the connection */
    SW_RESPONSE_CHUNK_SIZE, /* a line */
    SW_RESPONSE_CHUNK,      /* `left` bytes */
    SW_RESPONSE_CHUNK_END,  /* an empty line */
    SW_RESPONSE_TRAILERS,
    SW_RESPONSE_END, /* whole, or broken */
};

struct sw_response {
    enum sw_response_state state;
    bool to_head;      /* of a HEAD request: no body whatever the headers say */
    int status;        /* 100..599, of the newest status line */
    bool close;        /* whole: the server closes the connection behind it */
    bool started;      /* a byte of it has come */
    uint64_t body_len; /* bytes of body so far, without framing */
    const char *reason;
    /* The body's first bytes when the status is 400 or above: what the server has to say about it. */
    char sample[SW_RESPONSE_SAMPLE_MAX];
    size_t sample_len;

    /* inner */
    uint64_t body_max, left;
    size_t head_len; /* bytes of lines so far */
    unsigned interim;
    bool http10, keep_alive, has_length, chunked, other_coding;
    struct sw_buf line; /* of which the end has not come */
};

/* Zeroed memory may be inited; init of one in use keeps its memory. */
void sw_response_init(struct sw_response *response, bool to_head, uint64_t body_max);
void sw_response_deinit(struct sw_response *response);

/* Takes bytes; *ret_used of them belong to this answer (all of them unless it is DONE). */
enum sw_response_result sw_response_feed(struct sw_response *response, const char *data, size_t len, size_t *ret_used);
/* The connection ended: DONE when that is how the body ends, else MORE (the answer is short). */
enum sw_response_result sw_response_end(struct sw_response *response);

#endif
