/* Tracks and their rings; see history.h.
 *
 * Point i of a ring holds the time t with t / span % length == i, so a point is found by division. It is taken over by a
 * newer time, never by an older one. */
#include "observe/history.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/memory.h"

enum { TEXT_MAX = 16 * 1024, FINE_KEEP_MIN_MS = 60 * SW_FINE_MS, COARSE_KEEP_MIN_MS = 24 * 60 * SW_FINE_MS };

/* One of the two rings of a track. */
struct ring {
    struct sw_point **points;
    size_t length;
    uint64_t span_ms;
};

static struct ring fine_ring(struct sw_track *track) {
    return (struct ring){track->fine, SW_FINE_POINTS, SW_FINE_MS};
}

static struct ring coarse_ring(struct sw_track *track) {
    return (struct ring){track->coarse, SW_COARSE_POINTS, SW_COARSE_MS};
}

void sw_history_init(struct sw_history *history, size_t bytes_max) {
    *history = (struct sw_history){.bytes_max = bytes_max};
}

/* ---- points */

static size_t point_bytes(const struct sw_point *point) {
    return sizeof *point + sw_loghist_bytes(&point->values);
}

static void drop_point(struct sw_history *history, struct sw_point **place) {
    if (*place) {
        history->bytes -= point_bytes(*place);
        sw_loghist_deinit(&(*place)->values);
        sw_free(*place);
        *place = NULL;
    }
}

/* The point of this time, made when there is none; NULL: too old for the ring, or no memory. */
static struct sw_point *point_at(struct sw_history *history, const struct ring *ring, uint64_t time_ms) {
    uint64_t start_ms = time_ms - time_ms % ring->span_ms;
    struct sw_point **place = &ring->points[start_ms / ring->span_ms % ring->length];
    if (*place && (*place)->start_ms == start_ms) {
        return *place;
    }
    if (*place && (*place)->start_ms > start_ms) {
        return NULL;
    }
    struct sw_point *fresh = sw_calloc(1, sizeof *fresh);
    if (!fresh) {
        return NULL;
    }
    drop_point(history, place);
    fresh->start_ms = start_ms;
    history->bytes += sizeof *fresh;
    return *place = fresh;
}

static bool add_point(struct sw_point *point, const struct sw_point *from) {
    if (from->count) {
        point->min = point->count == 0 || from->min < point->min ? from->min : point->min;
        point->max = point->count == 0 || from->max > point->max ? from->max : point->max;
    }
    point->count += from->count;
    point->sum += from->sum;
    point->sum_squares += from->sum_squares;
    for (size_t i = 0; i < SW_FAILURES; i++) {
        point->failures[i] += from->failures[i];
    }
    return sw_loghist_merge(&point->values, &from->values);
}

/* Does the ring reach back to this time, or forward from it? */
static bool is_within(const struct ring *ring, uint64_t time_ms, uint64_t now_ms) {
    return time_ms + ring->length * ring->span_ms > now_ms && time_ms < now_ms + ring->length * ring->span_ms;
}

static bool merge_into(struct sw_history *history, const struct ring *ring, uint64_t time_ms, uint64_t now_ms,
                       const struct sw_point *from) {
    struct sw_point *point = is_within(ring, time_ms, now_ms) ? point_at(history, ring, time_ms) : NULL;
    if (!point) {
        return false;
    }
    history->bytes -= point_bytes(point);
    bool is_whole = add_point(point, from);
    history->bytes += point_bytes(point);
    return is_whole;
}

static void mark(struct sw_track *track, const struct ring *ring, uint64_t time_ms) {
    ring->points[time_ms / ring->span_ms % ring->length]->dirty = track->dirty = true;
}

static void note_oldest(struct sw_history *history, uint64_t time_ms) {
    history->oldest_ms = history->oldest_ms && history->oldest_ms < time_ms ? history->oldest_ms : time_ms;
}

bool sw_history_merge(struct sw_history *history, struct sw_track *track, uint64_t now_ms, uint64_t time_ms,
                      const struct sw_point *from) {
    const struct ring rings[] = {coarse_ring(track), fine_ring(track)};
    bool is_whole = is_within(&rings[0], time_ms, now_ms);
    for (size_t i = 0; i < SW_COUNTOF(rings) && is_whole; i++) {
        if (!is_within(&rings[i], time_ms, now_ms)) {
            break; /* minutes reach back less far */
        }
        is_whole = merge_into(history, &rings[i], time_ms, now_ms, from);
        if (is_whole) {
            mark(track, &rings[i], time_ms);
        }
    }
    if (is_whole) {
        note_oldest(history, time_ms);
    }
    history->dropped += !is_whole;
    return is_whole;
}

bool sw_history_add(struct sw_history *history, struct sw_track *track, uint64_t now_ms, uint64_t time_ms,
                    double value) {
    struct sw_loghist_entry entry = {(uint16_t)sw_loghist_cell(value), 1};
    struct sw_point point = {
        .count = 1, .sum = value, .sum_squares = value * value, .min = value, .max = value, .values = {&entry, 1, 1}};
    return sw_history_merge(history, track, now_ms, time_ms, &point);
}

/* ---- tracks */

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct sw_label *)a)->name, ((const struct sw_label *)b)->name);
}

static void write_labels(struct sw_buf *out, const struct sw_label *labels, size_t count) {
    sw_buf_append_c(out, '{');
    for (size_t i = 0; i < count; i++) {
        sw_buf_append_str(out, i ? SW_STR(",") : SW_STR(""));
        sw_buf_append_json(out, sw_str_of(labels[i].name));
        sw_buf_append_c(out, ':');
        sw_buf_append_json(out, sw_str_of(labels[i].value));
    }
    sw_buf_append_c(out, '}');
}

static struct sw_track *find(const struct sw_history *history, const char *metric, const char *labels_json) {
    struct sw_track *track = history->tracks;
    while (track && (strcmp(track->metric, metric) != 0 || strcmp(track->labels_json, labels_json) != 0)) {
        track = track->next;
    }
    return track;
}

static void free_track(struct sw_track *track) {
    for (size_t i = 0; i < track->label_count; i++) {
        sw_free((void *)(uintptr_t)track->labels[i].name);
        sw_free((void *)(uintptr_t)track->labels[i].value);
    }
    sw_free(track->metric);
    sw_free(track->labels_json);
    sw_free(track);
}

static struct sw_track *make(struct sw_history *history, const char *metric, const struct sw_label *labels,
                             size_t label_count, const char *labels_json, bool is_client) {
    struct sw_track *track = sw_calloc(1, sizeof *track);
    if (!track) {
        return NULL;
    }
    track->metric = sw_xstrdup(metric);
    track->labels_json = sw_xstrdup(labels_json);
    for (size_t i = 0; i < label_count; i++) {
        track->labels[i] = (struct sw_label){sw_xstrdup(labels[i].name), sw_xstrdup(labels[i].value)};
    }
    track->label_count = label_count;
    track->is_client = is_client;
    track->next = history->tracks;
    history->tracks = track;
    history->track_count++;
    history->client_count += is_client;
    history->bytes += sizeof *track;
    return track;
}

static sw_status check_room(const struct sw_history *history, struct sw_error *err) {
    if (history->client_count >= SW_CLIENT_TRACKS_MAX) {
        return sw_fail(
            err, SW_E_UNPROCESSABLE,
            "%d series of clients exist already (a series is a name with one set of labels); one that gets no "
            "value for seven days goes",
            SW_CLIENT_TRACKS_MAX);
    }
    if (history->bytes + sizeof(struct sw_track) > history->bytes_max) {
        return sw_fail(err, SW_E_UNPROCESSABLE, "the memory for series is used up (monitoring.memory)");
    }
    return SW_OK;
}

struct sw_track *sw_history_track(struct sw_history *history, const char *metric, const struct sw_label *labels,
                                  size_t label_count, bool is_client, struct sw_error *err) {
    struct sw_label sorted[SW_LABELS_MAX];
    SW_ASSERT(label_count <= SW_LABELS_MAX);
    for (size_t i = 0; i < label_count; i++) {
        sorted[i] = labels[i];
    }
    if (label_count > 1) {
        qsort(sorted, label_count, sizeof *sorted, by_name);
    }
    struct sw_buf text;
    sw_buf_init(&text, TEXT_MAX);
    write_labels(&text, sorted, label_count);
    struct sw_track *track = NULL;
    if (text.failed) {
        (void)sw_fail(err, SW_E_UNPROCESSABLE, "the labels are too long");
    } else {
        track = find(history, metric, text.data);
        if (!track && !(is_client && check_room(history, err))) {
            track = make(history, metric, sorted, label_count, text.data, is_client);
            if (!track) {
                (void)sw_fail(err, SW_E_UNAVAILABLE, "no memory for another series");
            }
        }
    }
    sw_buf_deinit(&text);
    return track;
}

struct sw_track *sw_history_track_json(struct sw_history *history, const char *metric, const char *labels_json,
                                       bool is_client, struct sw_error *err) {
    struct sw_label labels[SW_LABELS_MAX];
    size_t count = 0;
    json_auto_t *object = json_loads(labels_json, JSON_REJECT_DUPLICATES, NULL);
    const char *name;
    json_t *value;
    bool fits = json_is_object(object) && json_object_size(object) <= SW_LABELS_MAX;
    if (fits) {
        json_object_foreach(object, name, value) {
            fits = fits && json_is_string(value);
            labels[count++] = (struct sw_label){name, json_string_value(value)};
        }
    }
    if (!fits) {
        (void)sw_fail(err, SW_E_INVALID_ARGUMENT, "labels of a series are not as they should be");
        return NULL;
    }
    return sw_history_track(history, metric, labels, count, is_client, err);
}

const char *sw_track_label(const struct sw_track *track, const char *name) {
    for (size_t i = 0; i < track->label_count; i++) {
        if (strcmp(track->labels[i].name, name) == 0) {
            return track->labels[i].value;
        }
    }
    return NULL;
}

/* ---- letting go */

/* Points that began before `before_ms` go; false when none is left. */
static bool expire_ring(struct sw_history *history, const struct ring *ring, uint64_t before_ms) {
    bool has_points = false;
    for (size_t i = 0; i < ring->length; i++) {
        struct sw_point **place = &ring->points[i];
        if (*place && (*place)->start_ms + ring->span_ms <= before_ms) {
            drop_point(history, place);
        }
        has_points = has_points || *place;
    }
    return has_points;
}

static void remove_track(struct sw_history *history, struct sw_track **link) {
    struct sw_track *track = *link;
    *link = track->next;
    history->track_count--;
    history->client_count -= track->is_client;
    history->bytes -= sizeof *track;
    free_track(track);
}

static uint64_t earlier(uint64_t now_ms, uint64_t by_ms) {
    return now_ms > by_ms ? now_ms - by_ms : 0;
}

static void expire(struct sw_history *history, uint64_t now_ms, uint64_t fine_ms, uint64_t coarse_ms) {
    for (struct sw_track **link = &history->tracks; *link;) {
        struct ring fine = fine_ring(*link), coarse = coarse_ring(*link);
        bool has_fine = expire_ring(history, &fine, earlier(now_ms, fine_ms));
        bool has_coarse = expire_ring(history, &coarse, earlier(now_ms, coarse_ms));
        if (!has_fine && !has_coarse) {
            remove_track(history, link);
        } else {
            link = &(*link)->next;
        }
    }
    uint64_t oldest_ms = earlier(now_ms, coarse_ms);
    if (history->oldest_ms && history->oldest_ms < oldest_ms) {
        history->oldest_ms = oldest_ms;
    }
}

void sw_history_expire(struct sw_history *history, uint64_t now_ms) {
    uint64_t fine_ms = (uint64_t)SW_FINE_POINTS * SW_FINE_MS, coarse_ms = SW_HISTORY_MS;
    expire(history, now_ms, fine_ms, coarse_ms);
    /* The oldest minutes go first, of all tracks alike; then the oldest days. */
    while (history->bytes > history->bytes_max && (fine_ms > FINE_KEEP_MIN_MS || coarse_ms > COARSE_KEEP_MIN_MS)) {
        if (fine_ms > FINE_KEEP_MIN_MS) {
            fine_ms -= FINE_KEEP_MIN_MS;
        } else {
            coarse_ms -= COARSE_KEEP_MIN_MS;
        }
        expire(history, now_ms, fine_ms, coarse_ms);
    }
}

void sw_history_deinit(struct sw_history *history) {
    while (history->tracks) {
        struct ring fine = fine_ring(history->tracks), coarse = coarse_ring(history->tracks);
        expire_ring(history, &fine, UINT64_MAX);
        expire_ring(history, &coarse, UINT64_MAX);
        remove_track(history, &history->tracks);
    }
    SW_ASSERT(history->bytes == 0);
}

/* ---- keeping it */

static bool save(struct sw_saved_point *ret, const struct sw_track *track, const struct ring *ring,
                 const struct sw_point *point) {
    struct sw_loghist values;
    if (!sw_loghist_copy(&values, &point->values)) {
        return false;
    }
    *ret = (struct sw_saved_point){
        .metric = sw_xstrdup(track->metric),
        .labels_json = sw_xstrdup(track->labels_json),
        .is_client = track->is_client,
        .span_ms = (unsigned)ring->span_ms,
        .point = *point,
    };
    ret->point.values = values;
    return true;
}

/* False when not all could be taken. */
static bool take_ring(struct sw_track *track, const struct ring *ring, size_t max, struct sw_saved_points *ret) {
    for (size_t i = 0; i < ring->length; i++) {
        struct sw_point *point = ring->points[i];
        if (!point || !point->dirty) {
            continue;
        }
        if (ret->count == max || !save(&ret->items[ret->count], track, ring, point)) {
            return false;
        }
        ret->count++;
        point->dirty = false;
    }
    return true;
}

void sw_history_take_changed(struct sw_history *history, size_t max, struct sw_saved_points *ret) {
    *ret = (struct sw_saved_points){.items = sw_calloc(max, sizeof *ret->items)};
    for (struct sw_track *track = history->tracks; track && ret->items; track = track->next) {
        struct ring fine = fine_ring(track), coarse = coarse_ring(track);
        if (track->dirty) {
            track->dirty = !take_ring(track, &fine, max, ret) || !take_ring(track, &coarse, max, ret);
        }
    }
}

static struct ring ring_of(struct sw_track *track, unsigned span_ms) {
    return span_ms == SW_FINE_MS ? fine_ring(track) : coarse_ring(track);
}

void sw_history_put_back(struct sw_history *history, const struct sw_saved_points *points) {
    for (size_t i = 0; i < points->count; i++) {
        const struct sw_saved_point *saved = &points->items[i];
        struct sw_track *track = find(history, saved->metric, saved->labels_json);
        if (!track) {
            continue;
        }
        struct ring ring = ring_of(track, saved->span_ms);
        struct sw_point *point = ring.points[saved->point.start_ms / ring.span_ms % ring.length];
        if (point && point->start_ms == saved->point.start_ms) {
            point->dirty = track->dirty = true;
        }
    }
}

void sw_history_restore(struct sw_history *history, const struct sw_saved_point *saved, uint64_t now_ms) {
    struct sw_error err;
    uint64_t start_ms = saved->point.start_ms;
    if (start_ms > now_ms) {
        return;
    }
    struct sw_track *track = sw_history_track_json(history, saved->metric, saved->labels_json, saved->is_client, &err);
    if (!track) {
        history->dropped++;
        return;
    }
    struct ring ring = ring_of(track, saved->span_ms);
    const struct sw_point *before = ring.points[start_ms / ring.span_ms % ring.length];
    bool is_shared = before && before->start_ms == start_ms; /* what happened since the start is not stored yet */
    if (merge_into(history, &ring, start_ms, now_ms, &saved->point)) {
        note_oldest(history, start_ms);
        if (is_shared) {
            mark(track, &ring, start_ms);
        }
    }
}

bool sw_saved_points_add(struct sw_saved_points *points, const struct sw_saved_point *saved) {
    /* Room is made for 1, 2, 4, ... of them. */
    if ((points->count & (points->count - 1)) == 0) {
        size_t room = points->count ? 2 * points->count : 1;
        struct sw_saved_point *items = sw_realloc(points->items, room * sizeof *items);
        if (!items) {
            return false;
        }
        points->items = items;
    }
    struct sw_loghist values;
    if (!sw_loghist_copy(&values, &saved->point.values)) {
        return false;
    }
    struct sw_saved_point *copy = &points->items[points->count++];
    *copy = *saved;
    copy->metric = sw_xstrdup(saved->metric);
    copy->labels_json = sw_xstrdup(saved->labels_json);
    copy->point.values = values;
    return true;
}

void sw_saved_points_deinit(struct sw_saved_points *points) {
    for (size_t i = 0; i < points->count; i++) {
        sw_free(points->items[i].metric);
        sw_free(points->items[i].labels_json);
        sw_loghist_deinit(&points->items[i].point.values);
    }
    sw_free(points->items);
    *points = (struct sw_saved_points){0};
}
