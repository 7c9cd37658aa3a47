/* Configuration: every key of spec/config.toml with its value and where that came from.
 *
 * Sources, each overriding those before: the key's default, the YAML file, the environment (SLIPWAY_SECTION_KEY), the
 * command line. Values are checked by the key's type and bounds wherever they come from. A file may set known keys
 * only; an unknown SLIPWAY_ variable is a warning, since the environment belongs to others too. Loading goes on after a
 * fault, so that all of them are told at once. Immutable after load; any thread may read. */
#ifndef SW_CLI_CONFIG_H
#define SW_CLI_CONFIG_H

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"
#include "spec/config.h"

enum sw_config_type {
    SW_CONFIG_TEXT,
    SW_CONFIG_PATH,
    SW_CONFIG_INTEGER,
    SW_CONFIG_SIZE,     /* bytes */
    SW_CONFIG_DURATION, /* microseconds */
    SW_CONFIG_CHOICE,   /* index into choices */
    SW_CONFIG_BOOLEAN
};

struct sw_config_key_info {
    const char *section;
    const char *name;
    const char *id;       /* "server.port" */
    const char *variable; /* "SLIPWAY_SERVER_PORT" */
    enum sw_config_type type;
    const char *fallback;       /* as it would be written; "": not set */
    uint64_t min, max;          /* of integer, size, duration */
    const char *const *choices; /* ends with NULL */
    const char *zero;           /* what 0 means; NULL: nothing special */
    const char *help;
    bool reloadable;
    bool secret;
};

/* Generated. */
extern const struct sw_config_key_info sw_config_keys[SW_KEY_COUNT];
extern const char *const sw_config_other_variables[]; /* SLIPWAY_ variables that are no keys; ends with NULL */

enum sw_config_origin { SW_ORIGIN_DEFAULT, SW_ORIGIN_FILE, SW_ORIGIN_ENVIRONMENT, SW_ORIGIN_FLAG };
const char *sw_config_origin_name(enum sw_config_origin origin); /* "file" */

struct sw_config_value {
    char *text;      /* owned; for numbers the canonical form, such as "64MiB" */
    uint64_t number; /* integer, bytes, microseconds, index of the choice, 0 or 1 */
    enum sw_config_origin origin;
    char *where; /* owned: path of the file, name of the variable, flag; NULL for a default */
};

struct sw_config {
    struct sw_config_value values[SW_KEY_COUNT];
};

struct sw_config_flag {
    enum sw_config_key key;
    const char *value;
    const char *where; /* "--port" */
};

struct sw_config_sources {
    const char *file;         /* NULL: none */
    char *const *environment; /* "NAME=value", ends with NULL; NULL: none */
    const struct sw_config_flag *flags;
    size_t flag_count;
};

/* What is wrong, in the order found. Zero-initialise; release with sw_config_problems_deinit. */
struct sw_config_problem {
    bool is_error; /* else a warning */
    char *message;
};
struct sw_config_problems {
    struct sw_config_problem *items;
    size_t count;
    size_t error_count;
};
void sw_config_problems_deinit(struct sw_config_problems *problems);

/* SW_E_USAGE when a value or key is wrong (the first error in *err, all in *problems, which may be NULL); SW_E_IO,
 * SW_E_NOT_FOUND when the file cannot be read. */
SW_MUST_CHECK sw_status sw_config_load(const struct sw_config_sources *sources, struct sw_config **ret,
                                       struct sw_config_problems *problems, struct sw_error *err);
void sw_config_destroy(struct sw_config *config);

/* The key called `id` ("server.port"); false when unknown, with the nearest known id (or NULL) in *ret_near. */
bool sw_config_find_key(struct sw_str id, enum sw_config_key *ret_key, const char **ret_near);

uint64_t sw_config_number(const struct sw_config *config, enum sw_config_key key);
uint64_t sw_config_ms(const struct sw_config *config, enum sw_config_key key); /* of a duration, rounded up */
bool sw_config_bool(const struct sw_config *config, enum sw_config_key key);
const char *sw_config_text(const struct sw_config *config, enum sw_config_key key); /* NULL when not set */

/* As a configuration file with the origins as comments, and as {"server": {"port": {"value", "origin", ...}}}. */
void sw_config_write_yaml(const struct sw_config *config, struct sw_buf *out);
json_t *sw_config_to_json(const struct sw_config *config);

#endif
