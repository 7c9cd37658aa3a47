/* The command line: tables of commands and options, and the parser that reads them.
 *
 * The tables are generated from spec/commands.toml. Parsing finds the command (one or two words), sorts what follows
 * into options and the rest, and checks kinds and counts; what the values mean is the command's affair. Options and
 * positional arguments may stand in any order; `--` ends the options. A later value of an option replaces an earlier
 * one, unless the option may be repeated. Everything parsed borrows from argv. */
#ifndef SW_CLI_OPTIONS_H
#define SW_CLI_OPTIONS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/error.h"
#include "spec/commands.h"

enum sw_option_kind {
    SW_OPTION_KIND_FLAG,
    SW_OPTION_KIND_TEXT,
    SW_OPTION_KIND_INTEGER,
    SW_OPTION_KIND_FILE,
    SW_OPTION_KIND_DIRECTORY
};

struct sw_option {
    enum sw_option_id id;
    enum sw_option_kind kind;
    const char *name;     /* without dashes */
    char letter;          /* 0: none */
    const char *argument; /* how its value reads in help; NULL for a flag */
    const char *fallback; /* default as text; NULL: none */
    const char *help;
    int key;           /* enum sw_config_key that it sets, or -1 */
    uint64_t min, max; /* of an integer */
    bool repeatable;
};

struct sw_example {
    const char *text;
    const char *run;
};

struct sw_command {
    enum sw_command_id id;
    const char *name; /* "serve", "config show" */
    const char *section;
    const char *summary;
    const char *description;
    const char *usage;
    const char *positional; /* the arguments as the usage has them: "PATH" */
    size_t positional_min, positional_max;
    const struct sw_option *options;
    size_t option_count;
    const struct sw_example *examples;
    size_t example_count;
};

struct sw_exit_code {
    int code;
    const char *text;
};

/* Generated. */
extern const struct sw_command sw_commands[SW_COMMAND_COUNT];
extern const char sw_program_summary[];
extern const char sw_program_description[];
extern const struct sw_exit_code sw_exit_codes[];
extern const size_t sw_exit_code_count;

struct sw_given_option {
    const struct sw_option *option;
    const char *value; /* NULL for a flag */
};

/* A parsed command line. init by sw_args_parse, released by sw_args_deinit. */
struct sw_args {
    const struct sw_command *command; /* set as soon as it is known, also when parsing fails later */
    struct sw_given_option *given;    /* in order */
    size_t given_count;
    const char **positional;
    size_t positional_count;
};

/* Parses argv[1..argc). SW_E_USAGE with a message that names the word at fault and, where one is near, what may have
 * been meant. ret is to be released in either case. When --help was given, only that much is checked. */
SW_MUST_CHECK sw_status sw_args_parse(struct sw_args *ret, int argc, char *const *argv, struct sw_error *err);
void sw_args_deinit(struct sw_args *args);

bool sw_args_has(const struct sw_args *args, enum sw_option_id id);
/* Last value given, else the default, else NULL. */
const char *sw_args_text(const struct sw_args *args, enum sw_option_id id);
/* Of an integer option: checked when parsed. */
uint64_t sw_args_integer(const struct sw_args *args, enum sw_option_id id);

/* The command of that name, NULL when there is none. */
const struct sw_command *sw_command_find(struct sw_str name);

/* Appends the help of all commands, or of one, wrapped at `width` columns. */
void sw_help_program(struct sw_buf *out, size_t width);
void sw_help_command(struct sw_buf *out, const struct sw_command *command, size_t width);
/* Commands that begin with `word`, such as "config"; false when there are none. */
bool sw_help_group(struct sw_buf *out, struct sw_str word, size_t width);

#endif
