/* From a request to an image.
 *
 *   application/json            {"image_base64": "..."} or {"image_url": "..."}; other members are ignored
 *   multipart/form-data         a field `image` or `file` with the image, or image_base64, image_url as text; others are
 *                               ignored
 *   image/..., application/octet-stream   the image itself
 *   no content type             JSON when it begins like an object, else the image itself
 *
 * Exactly one image or URL: a second one is an error, since nobody could tell which was meant. The image's own type is
 * told by its bytes, later. */
#include "apps/starlight/app_internal.h"
#include "http/multipart.h"
#include "tensor/json.h"
#include "tensor/oip_tensor.h"

/* ---- sources */

/* Notes where the image is; a second place is an error. */
static sw_status take_field(struct inference *c, const char *field, struct sw_error *err) {
    if (c->field) {
        const char *first = c->field;
        c->field = field;
        return strcmp(first, field) == 0
                   ? sw_fail(err, SW_E_INVALID_ARGUMENT, "%s: is given twice", field)
                   : sw_fail(err, SW_E_INVALID_ARGUMENT, "%s: there is %s already; one image is looked at at a time",
                             field, first);
    }
    c->field = field;
    return SW_OK;
}

static sw_status check_size(const struct inference *c, uint64_t bytes, struct sw_error *err) {
    uint64_t max = c->app->options.image_bytes_max;
    if (bytes <= max) {
        return SW_OK;
    }
    return sw_fail(err, SW_E_TOO_LARGE, "%s: the image is larger than %llu bytes", c->field, (unsigned long long)max);
}

static sw_status take_image(struct inference *c, const char *field, struct sw_str image, struct sw_error *err) {
    SW_TRY(take_field(c, field, err));
    if (image.len == 0) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "%s: is empty", field);
    }
    c->image = image;
    return check_size(c, image.len, err);
}

static sw_status take_url(struct inference *c, struct sw_str url, struct sw_error *err) {
    SW_TRY(take_field(c, "image_url", err));
    if (url.len == 0) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "image_url: is empty");
    }
    c->url = url;
    return SW_OK;
}

/* "data:image/png;base64,": where the payload begins. */
static sw_status skip_data_uri(struct sw_str *text, struct sw_error *err) {
    struct sw_str scheme = {text->data, text->len < 5 ? text->len : 5}, head, rest = sw_str_split(*text, ',', &head);
    if (!sw_str_ieq(scheme, SW_STR("data:"))) {
        return SW_OK;
    }
    if (!rest.data || !sw_str_ends(head, SW_STR(";base64"))) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "image_base64: a data: URI must have ;base64, before its data");
    }
    *text = rest;
    return SW_OK;
}

static sw_status take_base64(struct inference *c, struct sw_str text, struct sw_error *err) {
    SW_TRY(take_field(c, "image_base64", err));
    SW_TRY(skip_data_uri(&text, err));
    SW_TRY(check_size(c, text.len / 4 * 3 > 2 ? text.len / 4 * 3 - 2 : 0, err)); /* before memory is taken */
    struct sw_str image;
    if (sw_base64_decode(text, &c->call.x->arena, &image, err)) {
        return sw_error_prefix(err, "image_base64");
    }
    c->field = NULL;
    return take_image(c, "image_base64", image, err);
}

/* ---- JSON */

/* A string, or null for what is not there. */
static sw_status read_text(struct sw_json *json, const char *name, struct sw_str *ret, struct sw_error *err) {
    switch (sw_json_peek(json)) {
    case '"': return sw_json_string(json, ret);
    case 'n': return sw_json_null(json);
    default: return sw_json_fail(json, "%s: must be a string", name);
    }
}

static sw_status read_members(struct inference *c, struct sw_json *json, struct sw_str *url, struct sw_str *base64,
                              struct sw_error *err) {
    SW_TRY(sw_json_enter_object(json));
    for (;;) {
        struct sw_str key;
        bool more;
        SW_TRY(sw_json_object_next(json, &key, &more));
        if (!more) {
            return sw_json_end(json);
        }
        bool is_url = sw_str_is(key, "image_url"), is_base64 = sw_str_is(key, "image_base64");
        if (is_url || is_base64) {
            c->field = is_url ? "image_url" : "image_base64"; /* of an error in it */
            SW_TRY(read_text(json, c->field, is_url ? url : base64, err));
            c->field = NULL;
        } else {
            SW_TRY(sw_json_skip(json));
        }
    }
}

static sw_status read_json(struct inference *c, struct sw_error *err) {
    struct sw_json json;
    struct sw_str url = {0}, base64 = {0};
    sw_json_init(&json, c->call.x->body, &c->call.x->arena, err);
    SW_TRY(read_members(c, &json, &url, &base64, err));
    if (url.data) {
        SW_TRY(take_url(c, url, err));
    }
    return base64.data ? take_base64(c, base64, err) : SW_OK;
}

/* ---- forms */

static sw_status take_part(struct inference *c, const struct sw_multipart_part *part, struct sw_error *err) {
    if (sw_str_is(part->name, "image")) {
        return take_image(c, "image", part->content, err);
    }
    if (sw_str_is(part->name, "file")) {
        return take_image(c, "file", part->content, err);
    }
    if (sw_str_is(part->name, "image_url")) {
        return take_url(c, part->content, err);
    }
    return sw_str_is(part->name, "image_base64") ? take_base64(c, part->content, err) : SW_OK;
}

static sw_status read_form(struct inference *c, struct sw_error *err) {
    struct sw_http_exchange *x = c->call.x;
    struct sw_multipart form;
    struct sw_multipart_part part;
    bool more = true;
    SW_TRY(sw_multipart_init(&form, sw_http_header(x, "Content-Type"), x->body, err));
    while (more) {
        SW_TRY(sw_multipart_next(&form, &part, &more, err));
        if (more) {
            SW_TRY(take_part(c, &part, err));
        }
    }
    return SW_OK;
}

/* ---- any */

static bool looks_like_json(struct sw_str body) {
    size_t i = 0;
    while (i < body.len && strchr(" \t\r\n", body.data[i]) && body.data[i]) {
        i++;
    }
    return i < body.len && body.data[i] == '{';
}

static bool is_raw(struct sw_str media) {
    struct sw_str prefix = {media.data, media.len < 6 ? media.len : 6};
    return sw_str_ieq(prefix, SW_STR("image/")) || sw_str_ieq(media, SW_STR("application/octet-stream"));
}

sw_status app_read_request(struct inference *c, struct sw_error *err) {
    struct sw_http_exchange *x = c->call.x;
    struct sw_str media = sw_api_media_type(x);
    if (sw_api_is_json(media) || (media.len == 0 && looks_like_json(x->body))) {
        SW_TRY(read_json(c, err));
    } else if (sw_str_ieq(media, SW_STR("multipart/form-data"))) {
        SW_TRY(read_form(c, err));
    } else if (media.len == 0 || is_raw(media)) {
        SW_TRY(take_image(c, "body", x->body, err));
    } else {
        return sw_fail(err, SW_E_UNSUPPORTED_MEDIA,
                       "content type '" SW_STR_FMT
                       "' is not understood here: send JSON with image_base64 or image_url, "
                       "a form with the file in `image` (multipart/form-data), or the image itself (image/png)",
                       SW_STR_ARG(media));
    }
    if (!c->field) {
        return sw_fail(err, SW_E_INVALID_ARGUMENT, "%s is missing",
                       sw_api_is_json(media) || media.len == 0 ? "image_base64 or image_url"
                                                               : "the form's field image");
    }
    return SW_OK;
}

sw_status app_use_image(struct inference *c, struct sw_str image, struct sw_error *err) {
    const struct sw_tensor_spec *spec = sw_api_only_input(c->call.model);
    if (!spec || spec->dtype != SW_DTYPE_BYTES) {
        return sw_fail(err, SW_E_INFERENCE_FAILED,
                       "model '%s' takes no images: a detector's bundle has input.kind starlight", c->call.model->name);
    }
    c->image = image;
    return sw_api_one_element(&c->call, image, err);
}
