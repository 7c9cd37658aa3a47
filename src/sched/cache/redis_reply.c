/* Bytes to answers, by the reader of hiredis, with its functions that make objects replaced by ours: they append to one
 * list and one buffer, which are used again for the next answer, and refuse what is more than was allowed.
 *
 * hiredis keeps what it was fed until a string is whole, whatever length was announced. So after each feed that completed
 * nothing, what stands at its cursor is looked at: a string that is announced as too large is skipped (alone) or refused
 * (in an array), a line that does not end is refused. */
#include "base/memory.h"
#include "sched/cache/redis_internal.h"

enum { LINE_MAX_BYTES = 4096, READER_KEEPS = 1 << 20, PARTS_FIRST = 16 };

/* --- objects ------------------------------------------------------------------------------------------------------ */

static int depth_of(const redisReadTask *task) {
    int depth = 0;
    while ((task = task->parent)) {
        depth++;
    }
    return depth;
}

static struct redis_part *add(const redisReadTask *task, enum redis_type type) {
    struct redis_reader *r = task->privdata;
    if (r->parts_count == r->parts_max) {
        return NULL;
    }
    if (r->parts_count == r->parts_capacity) {
        struct redis_part *more = sw_realloc(r->parts, 2 * r->parts_capacity * sizeof *more);
        if (!more) {
            return NULL;
        }
        r->parts = more;
        r->parts_capacity *= 2;
    }
    r->begun = true;
    struct redis_part *part = &r->parts[r->parts_count++];
    *part = (struct redis_part){.type = type, .depth = depth_of(task)};
    return part;
}

static void *make_text(const redisReadTask *task, char *data, size_t len) {
    struct redis_reader *r = task->privdata;
    enum redis_type type = task->type == REDIS_REPLY_STRING   ? REDIS_STRING
                           : task->type == REDIS_REPLY_STATUS ? REDIS_STATUS
                                                              : REDIS_ERROR;
    size_t room = type == REDIS_STRING ? r->text_max : r->text_max + LINE_MAX_BYTES;
    if (len > room && type == REDIS_STRING && !task->parent) { /* it came at once with what stood before it */
        return add(task, REDIS_OVERSIZE) ? r : NULL;
    }
    if (len > room || r->text.len > room - len) {
        return NULL;
    }
    struct redis_part *part = add(task, type);
    if (!part) {
        return NULL;
    }
    part->at = r->text.len;
    part->len = len;
    sw_buf_append(&r->text, data, len);
    return r->text.failed ? NULL : r;
}

static void *make_array(const redisReadTask *task, int elements) {
    struct redis_reader *r = task->privdata;
    if (elements < 0 || (size_t)elements > r->parts_max) {
        return NULL;
    }
    struct redis_part *part = add(task, REDIS_ARRAY);
    if (!part) {
        return NULL;
    }
    part->number = elements;
    return r;
}

static void *make_integer(const redisReadTask *task, long long number) {
    struct redis_part *part = add(task, REDIS_INTEGER);
    if (!part) {
        return NULL;
    }
    part->number = number;
    return task->privdata;
}

static void *make_nil(const redisReadTask *task) {
    return add(task, REDIS_NIL) ? task->privdata : NULL;
}

static void free_nothing(void *object) {
    (void)object;
}

static redisReplyObjectFunctions functions = {make_text, make_array, make_integer, make_nil, free_nothing};

/* --- the reader --------------------------------------------------------------------------------------------------- */

static bool start(struct redis_reader *r) {
    r->reader = redisReaderCreateWithFunctions(&functions);
    if (!r->reader) {
        return false;
    }
    r->reader->maxbuf = READER_KEEPS;
    r->reader->privdata = r;
    return true;
}

static void stop(struct redis_reader *r) {
    if (r->reader) {
        redisReaderFree(r->reader);
        r->reader = NULL;
    }
}

bool redis_reader_init(struct redis_reader *r, size_t text_max) {
    *r = (struct redis_reader){.parts_capacity = PARTS_FIRST};
    sw_buf_init(&r->text, text_max + LINE_MAX_BYTES + 1);
    r->parts = sw_malloc(PARTS_FIRST * sizeof *r->parts);
    return r->parts && start(r);
}

void redis_reader_deinit(struct redis_reader *r) {
    stop(r);
    sw_buf_deinit(&r->text);
    sw_free(r->parts);
    r->parts = NULL;
}

bool redis_reader_reset(struct redis_reader *r) {
    stop(r);
    r->skip = 0;
    r->begun = false;
    r->parts_count = 0;
    return start(r);
}

bool redis_reader_feed(struct redis_reader *r, const char *data, size_t len) {
    size_t skipped = r->skip < len ? (size_t)r->skip : len;
    r->skip -= skipped;
    return skipped == len || redisReaderFeed(r->reader, data + skipped, len - skipped) == REDIS_OK;
}

/* --- what is not whole yet ---------------------------------------------------------------------------------------- */

/* The number of the unfinished line at the cursor: "$123\r\n", of which hiredis has read the '$'. */
static bool announced(const char *data, size_t len, uint64_t *ret_number, size_t *ret_line) {
    const char *end = memchr(data, '\r', len < 24 ? len : 24);
    if (!end || (size_t)(end - data) + 2 > len || end[1] != '\n') {
        return false;
    }
    *ret_line = (size_t)(end - data) + 2;
    return sw_parse_u64((struct sw_str){data, (size_t)(end - data)}, ret_number);
}

/* The string that is announced is left out: the reader begins anew behind it. */
static enum redis_read skip_string(struct redis_reader *r, uint64_t size, size_t here) {
    if (size > INT64_MAX || here > size + 2) {
        return REDIS_READ_GARBAGE;
    }
    stop(r);
    r->skip = size + 2 - here;
    r->begun = false;
    r->parts[0] = (struct redis_part){.type = REDIS_OVERSIZE};
    r->parts_count = 1;
    return start(r) ? REDIS_READ_ANSWER : REDIS_READ_GARBAGE;
}

static enum redis_read look_at_rest(struct redis_reader *r) {
    const redisReader *h = r->reader;
    size_t len = h->len - h->pos, line;
    uint64_t size;
    if (h->ridx >= 0 && h->rstack[h->ridx].type == REDIS_REPLY_STRING && len &&
        announced(h->buf + h->pos, len, &size, &line)) {
        if (size <= r->text_max) {
            return REDIS_READ_MORE;
        }
        return h->ridx == 0 ? skip_string(r, size, len - line) : REDIS_READ_GARBAGE;
    }
    return len > LINE_MAX_BYTES ? REDIS_READ_GARBAGE : REDIS_READ_MORE;
}

enum redis_read redis_reader_next(struct redis_reader *r, size_t text_max, size_t parts_max) {
    void *object = NULL;
    if (!r->begun) {
        r->parts_count = 0;
        sw_buf_clear(&r->text);
        if (r->text.capacity > READER_KEEPS) {
            size_t max = r->text.max;
            sw_buf_deinit(&r->text);
            sw_buf_init(&r->text, max);
        }
    }
    r->text_max = text_max;
    r->parts_max = parts_max;
    if (redisReaderGetReply(r->reader, &object) != REDIS_OK) {
        return REDIS_READ_GARBAGE;
    }
    if (object) {
        r->begun = false;
        return REDIS_READ_ANSWER;
    }
    return r->skip ? REDIS_READ_MORE : look_at_rest(r);
}

struct sw_str redis_part_text(const struct redis_reader *r, const struct redis_part *part) {
    return (struct sw_str){part->len ? r->text.data + part->at : "", part->len};
}
