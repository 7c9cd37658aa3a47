/* Forms: any bytes as Content-Type (the first line) and body (the rest).
 *
 * Whatever comes, parts lie in the body in order, none reaches into another, none contains the delimiter, and a form
 * put together anew from the parts found gives the same parts again. */
#include <stdlib.h>

#include "base/buf.h"
#include "http/multipart.h"

enum { BODY_MAX = 1 << 20 };

static void check(bool good) {
    if (!good) {
        abort();
    }
}

static bool has(struct sw_str text, const char *needle, size_t len) {
    return text.len && memmem(text.data, text.len, needle, len);
}

/* Parses; what is found goes to `again` as a form. true: to the end. */
static bool parse(struct sw_str type, struct sw_str body, struct sw_buf *again, size_t *ret_count) {
    struct sw_multipart form;
    struct sw_multipart_part part;
    struct sw_error err;
    bool more = true;
    const char *at = body.data;
    *ret_count = 0;
    if (sw_multipart_init(&form, type, body, &err)) {
        check(err.code == SW_E_INVALID_ARGUMENT && err.message[0]);
        return false;
    }
    for (;;) {
        if (sw_multipart_next(&form, &part, &more, &err)) {
            check(err.code == SW_E_INVALID_ARGUMENT || err.code == SW_E_UNSUPPORTED_MEDIA);
            return false;
        }
        if (!more) {
            sw_buf_append(again, form.delimiter, form.delimiter_length);
            SW_LIT(again, "--");
            return true;
        }
        check(part.name.data >= at && part.content.data >= at);
        check(!has(part.content, form.delimiter, form.delimiter_length));
        at = part.content.data + part.content.len;
        check(at <= body.data + body.len && ++*ret_count <= SW_MULTIPART_PARTS_MAX);
        again->failed |= has(part.name, "\"", 1) || has(part.name, "\\", 1); /* cannot be quoted as it is */
        sw_buf_append(again, form.delimiter, form.delimiter_length);
        SW_LIT(again, "\r\nContent-Disposition: form-data; name=\"");
        sw_buf_append_str(again, part.name);
        SW_LIT(again, "\"\r\n\r\n");
        sw_buf_append_str(again, part.content);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sw_str type, body = sw_str_split((struct sw_str){(const char *)data, size}, '\n', &type);
    struct sw_buf again, third;
    size_t count, count_again;
    sw_buf_init(&again, BODY_MAX);
    sw_buf_init(&third, BODY_MAX);
    if (body.data && parse(type, body, &again, &count) && !again.failed) {
        struct sw_str copy = sw_buf_str(&again);
        check(parse(type, copy, &third, &count_again) && count_again == count);
        check(sw_str_eq(copy, sw_buf_str(&third)));
    }
    sw_buf_deinit(&again);
    sw_buf_deinit(&third);
    return 0;
}
