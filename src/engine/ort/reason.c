/* The runtime's messages, made readable: what a caller can use stays; where in the runtime's sources it arose goes.
 *
 * A message may hold places of the form "some/file.cc:123 function " (a plain name) or "... type ns::name(arguments) "
 * (a whole signature); both are cut out, wherever they stand. White space of all kinds becomes single spaces. */
#include <ctype.h>

#include "base/str.h"
#include "engine/ort/ort_internal.h"

enum { RAW_MAX = 2048 };

static bool is_path_char(char c) {
    return isalnum((unsigned char)c) || c == '_' || c == '.' || c == '/' || c == '-' || c == '+';
}

/* Length of "file.cc:123 " at the start of s, or 0. */
static size_t place_length(const char *s) {
    size_t name = 0;
    while (is_path_char(s[name])) {
        name++;
    }
    struct sw_str path = {s, name};
    if (s[name] != ':' || !isdigit((unsigned char)s[name + 1]) ||
        !(sw_str_ends(path, SW_STR(".cc")) || sw_str_ends(path, SW_STR(".h")) || sw_str_ends(path, SW_STR(".cpp")) ||
          sw_str_ends(path, SW_STR(".hpp")) || sw_str_ends(path, SW_STR(".cu")))) {
        return 0;
    }
    size_t end = name + 1;
    while (isdigit((unsigned char)s[end])) {
        end++;
    }
    return s[end] == ' ' ? end + 1 : 0;
}

/* End of the bracket that opens at s, or of the string. */
static const char *close_bracket(const char *s, char open, char close) {
    int depth = 0;
    for (; *s; s++) {
        depth += (*s == open) - (*s == close);
        if (depth == 0) {
            return s + 1;
        }
    }
    return s;
}

/* Past the function name or signature that follows a place. */
static const char *skip_function(const char *s) {
    const char *open = strchr(s, '(');
    const char *scope = strstr(s, "::");
    size_t plain = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:<>~&*, ");
    if (open && scope && scope < open && s + plain >= open) {
        s = close_bracket(open, '(', ')');
        if (strncmp(s, "::<lambda", 9) == 0) {
            s = close_bracket(s + 2, '<', '>');
        }
        if (strncmp(s, " const", 6) == 0) {
            s += 6;
        }
        if (strncmp(s, " [with ", 7) == 0) {
            s = close_bracket(s + 1, '[', ']');
        }
    } else {
        s += strcspn(s, " ");
    }
    return *s == ' ' ? s + 1 : s;
}

void ort_reason_clean(const char *message, char *ret_text, size_t size) {
    size_t n = 0;
    bool at_word = true; /* places start where a path could: not inside one */
    for (const char *s = message; *s && n + 1 < size;) {
        size_t place = at_word ? place_length(s) : 0;
        if (place) {
            s = skip_function(s + place);
            continue;
        }
        at_word = !is_path_char(*s);
        bool blank = (unsigned char)*s <= ' ';
        if (!blank) {
            ret_text[n++] = *s;
        } else if (n && ret_text[n - 1] != ' ') {
            ret_text[n++] = ' ';
        }
        s++;
    }
    while (n && ret_text[n - 1] == ' ') {
        n--;
    }
    ret_text[n] = '\0';
}

/* Text between two markers, or an empty string. */
static struct sw_str between(const char *text, const char *before, const char *after) {
    const char *start = strstr(text, before);
    if (!start) {
        return SW_STR("");
    }
    start += strlen(before);
    const char *end = strstr(start, after);
    return (struct sw_str){start, end ? (size_t)(end - start) : strlen(start)};
}

sw_status ort_fail(const struct ort_api *api, struct ort_status *status, sw_status code, struct sw_error *err) {
    char raw[RAW_MAX];
    ort_reason_clean(api->GetErrorMessage(status), raw, sizeof raw);
    api->ReleaseStatus(status);
    const char *text = raw;
    const char *load = strncmp(raw, "Load model from ", 16) == 0 ? strstr(raw, " failed:") : NULL;
    if (load) { /* the caller names the file */
        text = load + 8;
        text += strspn(text, " ");
    }
    struct sw_str op = between(text, "No Op registered for ", " with");
    if (op.len) {
        struct sw_str version = between(text, "with domain_version of ", " ");
        return sw_fail(err, code, "operator " SW_STR_FMT " is unknown to this ONNX Runtime at opset " SW_STR_FMT,
                       SW_STR_ARG(op), SW_STR_ARG(version));
    }
    if (strstr(text, "is not a registered function/op")) {
        op = between(text, "Fatal error: ", "(");
        return sw_fail(err, code, "operator " SW_STR_FMT " is unknown to this ONNX Runtime", SW_STR_ARG(op));
    }
    struct sw_str opset = between(text, " Opset ", " is under development");
    if (opset.len) {
        struct sw_str domain = between(text, "official support for domain ", " is till");
        struct sw_str newest = between(text, "is till opset ", ".");
        return sw_fail(err, code,
                       "opset " SW_STR_FMT " of " SW_STR_FMT " is not supported by this ONNX Runtime, which knows "
                       "opsets up to " SW_STR_FMT,
                       SW_STR_ARG(opset), SW_STR_ARG(domain), SW_STR_ARG(newest));
    }
    return sw_fail(err, code, "%s", text);
}
