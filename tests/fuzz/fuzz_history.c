/* Texts that the history reads: stored distributions, stored labels, and times of clients. The first byte says which. What is
 * accepted reads back as the same. */
#include "base/clock.h"
#include "observe/history.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_loghist(struct sw_str text) {
    struct sw_loghist hist, back;
    struct sw_buf out;
    if (!sw_loghist_read(text, &hist)) {
        SW_ASSERT(!hist.entries);
        return;
    }
    sw_buf_init(&out, 1 << 20);
    sw_loghist_write(&hist, &out);
    SW_ASSERT(!out.failed && sw_loghist_read(sw_buf_str(&out), &back) && back.used == hist.used);
    for (size_t i = 0; i < hist.used; i++) {
        SW_ASSERT(hist.entries[i].cell == back.entries[i].cell && hist.entries[i].count == back.entries[i].count);
    }
    sw_buf_deinit(&out);
    sw_loghist_deinit(&hist);
    sw_loghist_deinit(&back);
}

static void check_labels(struct sw_str text) {
    struct sw_history history;
    struct sw_error err = {0};
    struct sw_buf copy;
    sw_history_init(&history, 1 << 20);
    sw_buf_init(&copy, 1 << 20);
    sw_buf_append_str(&copy, text);
    sw_buf_append_c(&copy, '\0');
    struct sw_track *track = sw_history_track_json(&history, "m", copy.data, true, &err);
    if (track) {
        SW_ASSERT(track->label_count <= SW_LABELS_MAX);
        SW_ASSERT(sw_history_track_json(&history, "m", track->labels_json, true, &err) == track);
        SW_ASSERT(sw_history_add(&history, track, 1, 1, 1));
    } else {
        SW_ASSERT(err.message[0] && history.track_count == 0);
    }
    sw_buf_deinit(&copy);
    sw_history_deinit(&history);
}

static void check_time(struct sw_str text) {
    uint64_t ms = 7, back;
    char out[SW_TIMESTAMP_MAX];
    if (!sw_parse_timestamp(text, &ms)) {
        SW_ASSERT(ms == 7);
        return;
    }
    SW_ASSERT(ms < UINT64_C(253402387200000)); /* the end of year 9999, and an offset */
    sw_format_timestamp(ms, out);
    SW_ASSERT(ms >= UINT64_C(253402300800000) || (sw_parse_timestamp(sw_str_of(out), &back) && back == ms));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sw_str text = {(const char *)data + 1, size - 1};
    if (size == 0 || size > 1 << 16) {
        return 0;
    }
    switch (data[0] % 3) {
    case 0: check_loghist(text); break;
    case 1: check_labels(text); break;
    default: check_time(text); break;
    }
    return 0;
}
