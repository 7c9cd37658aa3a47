/* Loads at start; see loads.h. A load is WAITING, then SUBMITTED, then REPORTED (by the loader thread, under the lock),
 * then TAKEN. */
#include "cli/loads.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/memory.h"

enum { NAMES_SHOWN = 3 };

struct load {
    struct sw_loads *loads;
    enum { WAITING, SUBMITTED, REPORTED, TAKEN } state;
    struct sw_load_outcome outcome;
};

struct sw_loads {
    struct sw_repository *repository;
    struct load **items;
    size_t count;
    size_t submitted; /* items before this one are with the loader or done */
    size_t taken;
    size_t ready;
    pthread_mutex_t lock; /* states and outcomes, while the loader may report */
    int event_fd;
};

sw_status sw_loads_create(struct sw_repository *repository, struct sw_loads **ret, struct sw_error *err) {
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) {
        return sw_fail(err, SW_E_IO, "eventfd: %s", strerror(errno));
    }
    struct sw_loads *loads = SW_NEW(struct sw_loads);
    loads->repository = repository;
    loads->event_fd = fd;
    pthread_mutex_init(&loads->lock, NULL);
    *ret = loads;
    return SW_OK;
}

void sw_loads_destroy(struct sw_loads *loads) {
    if (loads) {
        for (size_t i = 0; i < loads->count; i++) {
            sw_free(loads->items[i]);
        }
        sw_free(loads->items);
        pthread_mutex_destroy(&loads->lock);
        close(loads->event_fd);
        sw_free(loads);
    }
}

static void append(struct sw_loads *loads, const char *name, bool required) {
    struct load *load = SW_NEW(struct load);
    load->loads = loads;
    load->outcome.name = name;
    load->outcome.required = required;
    loads->items = sw_xrealloc(loads->items, (loads->count + 1) * sizeof(struct load *));
    loads->items[loads->count++] = load;
}

sw_status sw_loads_add(struct sw_loads *loads, const char *path, struct sw_error *err) {
    const char *name;
    SW_TRY(sw_repository_add(loads->repository, path, &name, err));
    append(loads, name, true);
    return SW_OK;
}

void sw_loads_add_known(struct sw_loads *loads, const char *name) {
    append(loads, name, false);
}

/* Rows of one model follow each other, one for each version. */
static void append_row(void *arg, const struct sw_repository_row *row) {
    struct sw_loads *loads = arg;
    for (size_t i = loads->count; i-- > 0;) {
        if (loads->items[i]->outcome.name == row->name) {
            return;
        }
    }
    append(loads, row->name, false);
}

sw_status sw_loads_add_directory(struct sw_loads *loads, const char *dir, struct sw_error *err) {
    SW_TRY(sw_repository_add_directory(loads->repository, dir, err));
    sw_repository_each(loads->repository, append_row, loads);
    return SW_OK;
}

/* Loader thread. */
static void report(void *arg, sw_status status, const struct sw_error *err) {
    struct load *load = arg;
    struct sw_loads *loads = load->loads;
    pthread_mutex_lock(&loads->lock);
    load->outcome.status = status;
    if (status) {
        load->outcome.error = *err;
    }
    load->state = REPORTED;
    pthread_mutex_unlock(&loads->lock);
    uint64_t one = 1;
    ssize_t n = write(loads->event_fd, &one, sizeof one);
    SW_ASSERT(n == sizeof one); /* cannot be full: at most `count` are added */
}

sw_status sw_loads_submit(struct sw_loads *loads, struct sw_error *err) {
    while (loads->submitted < loads->count) {
        struct load *load = loads->items[loads->submitted];
        load->state = SUBMITTED; /* before the loader can see it */
        struct sw_error refusal;
        sw_status status = sw_repository_load(loads->repository, sw_str_of(load->outcome.name), report, load, &refusal);
        if (status) {
            load->state = WAITING;
            if (status == SW_E_TOO_MANY_REQUESTS && loads->submitted > loads->taken) {
                return SW_OK; /* an outcome will come, then again */
            }
            return sw_fail(err, status, "%s: %s", load->outcome.name, refusal.message);
        }
        loads->submitted++;
    }
    return SW_OK;
}

int sw_loads_fd(const struct sw_loads *loads) {
    return loads->event_fd;
}

bool sw_loads_take(struct sw_loads *loads, struct sw_load_outcome *ret) {
    uint64_t events;
    if (read(loads->event_fd, &events, sizeof events) < 0 && errno != EAGAIN) {
        return false;
    }
    bool found = false;
    pthread_mutex_lock(&loads->lock);
    for (size_t i = 0; i < loads->submitted && !found; i++) {
        if (loads->items[i]->state == REPORTED) {
            loads->items[i]->state = TAKEN;
            *ret = loads->items[i]->outcome;
            found = true;
        }
    }
    pthread_mutex_unlock(&loads->lock);
    loads->taken += found;
    loads->ready += found && ret->status == SW_OK;
    return found;
}

bool sw_loads_finished(const struct sw_loads *loads) {
    return loads->taken == loads->count;
}

size_t sw_loads_count(const struct sw_loads *loads) {
    return loads->count;
}

size_t sw_loads_ready_count(const struct sw_loads *loads) {
    return loads->ready;
}

static bool is_ready(const struct load *load) {
    return load->state == TAKEN && load->outcome.status == SW_OK;
}

const char *sw_loads_first_ready(const struct sw_loads *loads) {
    for (size_t i = 0; i < loads->count; i++) {
        if (is_ready(loads->items[i])) {
            return loads->items[i]->outcome.name;
        }
    }
    return NULL;
}

void sw_loads_describe(const struct sw_loads *loads, struct sw_buf *out) {
    size_t shown = 0;
    for (size_t i = 0; i < loads->count && shown < NAMES_SHOWN; i++) {
        if (is_ready(loads->items[i])) {
            bool last = shown + 1 == loads->ready;
            sw_buf_printf(out, "%s%s", shown == 0 ? "" : last ? " and " : ", ", loads->items[i]->outcome.name);
            shown++;
        }
    }
    if (loads->ready > shown) {
        sw_buf_printf(out, " and %zu more", loads->ready - shown);
    }
    if (loads->ready == 0) {
        SW_LIT(out, "no model yet");
    }
}
