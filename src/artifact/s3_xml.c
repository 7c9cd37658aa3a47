/* S3's answers, read with expat. Strict: no document type (so no entities), at most 16 levels, bounded texts. */
#include <expat.h>

#include "artifact/s3_internal.h"

enum { DEPTH_MAX = 16, PATH_MAX_BYTES = 512 };

struct reader {
    XML_Parser parser;
    sw_s3_xml_fn *fn;
    void *arg;
    char path[PATH_MAX_BYTES];
    size_t lens[DEPTH_MAX]; /* of the path, outside each open element */
    size_t depth;
    struct sw_buf text; /* in the element opened last */
    bool ended;         /* by fn */
    const char *fault;
};

static void stop(struct reader *reader, const char *fault) {
    reader->fault = fault;
    XML_StopParser(reader->parser, XML_FALSE);
}

static void on_start(void *arg, const XML_Char *name, const XML_Char **attributes) {
    struct reader *reader = arg;
    size_t len = strlen(reader->path);
    if (reader->depth == DEPTH_MAX || len + strlen(name) + 2 > sizeof reader->path) {
        stop(reader, "it is nested too deep");
        return;
    }
    reader->lens[reader->depth++] = len;
    snprintf(reader->path + len, sizeof reader->path - len, "%s%s", len ? "/" : "", name);
    sw_buf_clear(&reader->text);
}

static void on_text(void *arg, const XML_Char *text, int len) {
    struct reader *reader = arg;
    sw_buf_append(&reader->text, text, (size_t)len);
    if (reader->text.failed) {
        stop(reader, "a text in it is too long");
    }
}

static void on_end(void *arg, const XML_Char *name) {
    struct reader *reader = arg;
    if (!reader->fn(reader->arg, reader->path, sw_buf_str(&reader->text))) {
        reader->ended = true;
        XML_StopParser(reader->parser, XML_FALSE);
    }
    reader->path[reader->lens[--reader->depth]] = '\0';
    sw_buf_clear(&reader->text);
}

static void on_doctype(void *arg, const XML_Char *name, const XML_Char *system, const XML_Char *public, int internal) {
    stop(arg, "it has a document type");
}

sw_status sw_s3_xml_read(struct sw_str xml, sw_s3_xml_fn *fn, void *arg, struct sw_error *err) {
    struct reader reader = {.parser = XML_ParserCreate(NULL), .fn = fn, .arg = arg};
    if (!reader.parser) {
        return sw_fail(err, SW_E_UNAVAILABLE, "out of memory");
    }
    SW_ASSERT(xml.len <= INT32_MAX);
    sw_buf_init(&reader.text, SW_S3_XML_TEXT_MAX);
    XML_SetUserData(reader.parser, &reader);
    XML_SetElementHandler(reader.parser, on_start, on_end);
    XML_SetCharacterDataHandler(reader.parser, on_text);
    XML_SetStartDoctypeDeclHandler(reader.parser, on_doctype);
    bool good = XML_Parse(reader.parser, xml.data, (int)xml.len, 1) == XML_STATUS_OK || reader.ended;
    sw_status status = SW_OK;
    if (!good) {
        status = sw_fail(err, SW_E_UNAVAILABLE, "S3's answer cannot be read: %s",
                         reader.fault ? reader.fault : XML_ErrorString(XML_GetErrorCode(reader.parser)));
    }
    XML_ParserFree(reader.parser);
    sw_buf_deinit(&reader.text);
    return status;
}

bool sw_s3_parse_time(struct sw_str text, uint64_t *ret_ms) {
    struct tm tm = {0};
    char copy[32];
    if (text.len < 20 || text.len >= sizeof copy) {
        return false;
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    const char *rest = strptime(copy, "%Y-%m-%dT%H:%M:%S", &tm);
    time_t seconds = rest && (*rest == '.' || *rest == 'Z') ? timegm(&tm) : -1;
    if (seconds < 0) {
        return false;
    }
    *ret_ms = (uint64_t)seconds * 1000u; /* whole seconds are all that S3 promises */
    return true;
}
