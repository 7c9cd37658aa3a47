/* multipart/form-data; see multipart.h.
 *
 * The delimiter is CR LF "--" boundary. Content ends where the next one begins; what follows it on its line says whether
 * more comes ("--": no). The first may stand at the very beginning of the body, without CR LF. What stands before the
 * first or behind the last is ignored, as RFC 2046 says. */
#include "http/multipart.h"

/* ---- header parameters */

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

/* The length of a quoted string's content, text beginning behind the quote; SIZE_MAX: it does not end. */
static size_t quoted_length(struct sw_str text) {
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '\\') {
            i++;
        } else if (text.data[i] == '"') {
            return i;
        }
    }
    return SIZE_MAX;
}

static struct sw_str skip(struct sw_str text, size_t n) {
    return (struct sw_str){text.data + n, text.len - n};
}

/* Reads "name=value" from the beginning of *text and what follows up to the next semicolon. false: malformed. */
static bool read_parameter(struct sw_str *text, struct sw_str *ret_name, struct sw_str *ret_value) {
    const char *equals = text->len ? memchr(text->data, '=', text->len) : NULL;
    if (!equals) {
        return false;
    }
    *ret_name = sw_str_trim((struct sw_str){text->data, (size_t)(equals - text->data)});
    *text = skip(*text, (size_t)(equals - text->data) + 1);
    while (text->len && is_blank(text->data[0])) {
        *text = skip(*text, 1);
    }
    if (text->len && text->data[0] == '"') {
        *text = skip(*text, 1);
        size_t n = quoted_length(*text);
        if (n == SIZE_MAX) {
            return false;
        }
        *ret_value = (struct sw_str){text->data, n};
        *text = skip(*text, n + 1);
        struct sw_str between, rest = sw_str_split(*text, ';', &between);
        *text = rest;
        return sw_str_trim(between).len == 0;
    }
    struct sw_str rest = sw_str_split(*text, ';', ret_value);
    *ret_value = sw_str_trim(*ret_value);
    *text = rest;
    return true;
}

struct sw_str sw_header_parameter(struct sw_str value, struct sw_str name) {
    struct sw_str first, rest = sw_str_split(value, ';', &first), found_name, found;
    while (rest.data && sw_str_trim(rest).len) {
        if (!read_parameter(&rest, &found_name, &found)) {
            break;
        }
        if (sw_str_ieq(found_name, name)) {
            return found;
        }
    }
    return (struct sw_str){NULL, 0};
}

/* ---- the form */

static bool is_boundary(struct sw_str boundary) {
    static const char others[] = "'()+_,-./:=? ";
    for (size_t i = 0; i < boundary.len; i++) {
        char c = boundary.data[i];
        bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!alphanumeric && (c == '\0' || !strchr(others, c))) {
            return false;
        }
    }
    return boundary.len > 0 && boundary.len <= SW_MULTIPART_BOUNDARY_MAX && boundary.data[boundary.len - 1] != ' ';
}

/* Behind a delimiter: blanks and CR LF, or "--" when it is the last. */
static sw_status read_delimiter_end(struct sw_multipart *form, struct sw_error *err) {
    struct sw_str *rest = &form->rest;
    form->ended = sw_str_starts(*rest, SW_STR("--"));
    if (form->ended) {
        return SW_OK;
    }
    while (rest->len && is_blank(rest->data[0])) {
        *rest = skip(*rest, 1);
    }
    if (!sw_str_starts(*rest, SW_STR("\r\n"))) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "form: a boundary is not followed by the end of its line");
    }
    *rest = skip(*rest, 2);
    return SW_OK;
}

sw_status sw_multipart_init(struct sw_multipart *form, struct sw_str content_type, struct sw_str body,
                            struct sw_error *err) {
    struct sw_str boundary = sw_header_parameter(content_type, SW_STR("boundary"));
    if (!is_boundary(boundary)) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "form: the Content-Type has no valid boundary");
    }
    *form = (struct sw_multipart){.rest = body, .delimiter_length = boundary.len + 4};
    memcpy(form->delimiter, "\r\n--", 4);
    memcpy(form->delimiter + 4, boundary.data, boundary.len);
    struct sw_str bare = {form->delimiter + 2, form->delimiter_length - 2};
    if (sw_str_starts(body, bare)) {
        form->rest = skip(body, bare.len);
        return read_delimiter_end(form, err);
    }
    const char *found = body.len ? memmem(body.data, body.len, form->delimiter, form->delimiter_length) : NULL;
    if (!found) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "form: the boundary of the Content-Type is not in the body");
    }
    form->rest = skip(body, (size_t)(found - body.data) + form->delimiter_length);
    return read_delimiter_end(form, err);
}

/* ---- one part */

static sw_status read_disposition(struct sw_str value, struct sw_multipart_part *part, struct sw_error *err) {
    struct sw_str kind;
    (void)sw_str_split(value, ';', &kind);
    part->name = sw_header_parameter(value, SW_STR("name"));
    part->file_name = sw_header_parameter(value, SW_STR("filename"));
    if (!sw_str_ieq(sw_str_trim(kind), SW_STR("form-data")) || !part->name.data) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "form: a part is not form-data with a name");
    }
    return SW_OK;
}

static sw_status read_header(struct sw_str line, struct sw_multipart_part *part, struct sw_error *err) {
    struct sw_str name, value = sw_str_split(line, ':', &name);
    if (!value.data) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "form: a part has a header without a colon");
    }
    value = sw_str_trim(value);
    if (sw_str_ieq(name, SW_STR("Content-Disposition"))) {
        return read_disposition(value, part, err);
    }
    if (sw_str_ieq(name, SW_STR("Content-Type"))) {
        (void)sw_str_split(value, ';', &part->content_type);
        part->content_type = sw_str_trim(part->content_type);
    }
    bool encoded = sw_str_ieq(name, SW_STR("Content-Transfer-Encoding")) && !sw_str_ieq(value, SW_STR("binary")) &&
                   !sw_str_ieq(value, SW_STR("8bit")) && !sw_str_ieq(value, SW_STR("7bit"));
    return encoded ? sw_fail(err, SW_E_UNSUPPORTED_MEDIA, "form: transfer encoding '" SW_STR_FMT "' is not understood",
                             SW_STR_ARG(value))
                   : SW_OK;
}

static sw_status read_headers(struct sw_multipart *form, struct sw_multipart_part *part, struct sw_error *err) {
    const char *begin = form->rest.data;
    for (;;) {
        size_t most = SW_MULTIPART_HEADERS_MAX - (size_t)(form->rest.data - begin);
        size_t seen = form->rest.len < most ? form->rest.len : most;
        const char *end = seen ? memmem(form->rest.data, seen, "\r\n", 2) : NULL;
        if (!end) {
            return sw_fail(err, SW_E_INVALID_ARGUMENT, "form: the headers of a part do not end within %d bytes",
                           SW_MULTIPART_HEADERS_MAX);
        }
        struct sw_str line = {form->rest.data, (size_t)(end - form->rest.data)};
        if (line.len == 0) {
            return SW_OK; /* the cursor stays at the empty line */
        }
        SW_TRY(read_header(line, part, err));
        form->rest = skip(form->rest, line.len + 2);
    }
}

/* form->rest begins with the CR LF of the empty line; content begins behind it. */
static sw_status read_content(struct sw_multipart *form, struct sw_multipart_part *part, struct sw_error *err) {
    struct sw_str rest = skip(form->rest, 2);
    const char *end = rest.len ? memmem(rest.data, rest.len, form->delimiter, form->delimiter_length) : NULL;
    if (!end) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT,
                       "form: part '" SW_STR_FMT "' is cut off: its closing boundary is missing",
                       SW_STR_ARG(part->name));
    }
    part->content = (struct sw_str){rest.data, (size_t)(end - rest.data)};
    form->rest = skip(rest, part->content.len + form->delimiter_length);
    return read_delimiter_end(form, err);
}

sw_status sw_multipart_next(struct sw_multipart *form, struct sw_multipart_part *ret, bool *ret_more,
                            struct sw_error *err) {
    struct sw_multipart_part part = {.content_type = SW_STR("")};
    if (form->ended) {
        *ret_more = false;
        return SW_OK;
    }
    if (form->parts == SW_MULTIPART_PARTS_MAX) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "form: more than %d parts", SW_MULTIPART_PARTS_MAX);
    }
    SW_TRY(read_headers(form, &part, err));
    if (!part.name.data) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "form: a part has no Content-Disposition");
    }
    SW_TRY(read_content(form, &part, err));
    form->parts++;
    *ret = part;
    *ret_more = true;
    return SW_OK;
}
