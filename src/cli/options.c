/* Parser of the command line. */
#include "cli/options.h"

#include "base/memory.h"
#include "cli/suggest.h"

const struct sw_command *sw_command_find(struct sw_str name) {
    for (size_t i = 0; i < SW_COMMAND_COUNT; i++) {
        if (sw_str_is(name, sw_commands[i].name)) {
            return &sw_commands[i];
        }
    }
    return NULL;
}

/* Does the command consist of `word` and more ("config" of "config show")? */
static bool is_group_of(const struct sw_command *command, struct sw_str word) {
    struct sw_str name = sw_str_of(command->name);
    return name.len > word.len && name.data[word.len] == ' ' && sw_str_starts(name, word);
}

static bool is_group(struct sw_str word) {
    for (size_t i = 0; i < SW_COMMAND_COUNT; i++) {
        if (is_group_of(&sw_commands[i], word)) {
            return true;
        }
    }
    return false;
}

static sw_status unknown_command(const char *first, const char *second, struct sw_error *err) {
    char text[128];
    snprintf(text, sizeof text, "%s%s%s", first, second ? " " : "", second ? second : "");
    struct sw_suggestion near = {.word = sw_str_of(text)};
    for (size_t i = 0; i < SW_COMMAND_COUNT; i++) {
        sw_suggestion_add(&near, sw_commands[i].name);
    }
    if (near.best) {
        return sw_fail(err, SW_E_USAGE, "unknown command '%s'; did you mean '%s'?", text, near.best);
    }
    return sw_fail(err, SW_E_USAGE, "unknown command '%s'", text);
}

/* Finds the command at argv[1], or argv[1] and argv[2]; *ret_next is the first word behind it. */
static sw_status find_command(int argc, char *const *argv, const struct sw_command **ret, int *ret_next,
                              struct sw_error *err) {
    struct sw_str first = sw_str_of(argv[1]);
    const struct sw_command *command = sw_command_find(first);
    if (command) {
        *ret = command;
        *ret_next = 2;
        return SW_OK;
    }
    if (!is_group(first)) {
        return unknown_command(argv[1], NULL, err);
    }
    if (argc < 3 || argv[2][0] == '-') {
        return sw_fail(err, SW_E_USAGE, "'%s' needs a second word; see: slipway help %s", argv[1], argv[1]);
    }
    char name[128];
    snprintf(name, sizeof name, "%s %s", argv[1], argv[2]);
    command = sw_command_find(sw_str_of(name));
    if (!command) {
        return unknown_command(argv[1], argv[2], err);
    }
    *ret = command;
    *ret_next = 3;
    return SW_OK;
}

static const struct sw_option *option_by_name(const struct sw_command *command, struct sw_str name) {
    for (size_t i = 0; i < command->option_count; i++) {
        if (sw_str_is(name, command->options[i].name)) {
            return &command->options[i];
        }
    }
    return NULL;
}

static const struct sw_option *option_by_letter(const struct sw_command *command, char letter) {
    for (size_t i = 0; i < command->option_count; i++) {
        if (letter && command->options[i].letter == letter) {
            return &command->options[i];
        }
    }
    return NULL;
}

static sw_status unknown_option(const struct sw_command *command, struct sw_str name, struct sw_error *err) {
    struct sw_suggestion near = {.word = name};
    for (size_t i = 0; i < command->option_count; i++) {
        sw_suggestion_add(&near, command->options[i].name);
    }
    if (near.best) {
        return sw_fail(err, SW_E_USAGE, "unknown option --" SW_STR_FMT "; did you mean --%s?", SW_STR_ARG(name),
                       near.best);
    }
    return sw_fail(err, SW_E_USAGE, "unknown option --" SW_STR_FMT, SW_STR_ARG(name));
}

static sw_status check_integer(const struct sw_option *option, const char *value, struct sw_error *err) {
    uint64_t number;
    if (!sw_parse_u64(sw_str_of(value), &number) || number < option->min || number > option->max) {
        return sw_fail(err, SW_E_USAGE, "--%s takes a whole number from %llu to %llu, not '%s'", option->name,
                       (unsigned long long)option->min, (unsigned long long)option->max, value);
    }
    return SW_OK;
}

static sw_status give(struct sw_args *args, const struct sw_option *option, const char *value, struct sw_error *err) {
    if (option->kind != SW_OPTION_KIND_FLAG && value[0] == '\0') {
        return sw_fail(err, SW_E_USAGE, "--%s was given an empty %s", option->name, option->argument);
    }
    if (option->kind == SW_OPTION_KIND_INTEGER) {
        SW_TRY(check_integer(option, value, err));
    }
    args->given[args->given_count++] = (struct sw_given_option){option, value};
    return SW_OK;
}

/* Takes the option at argv[*i] and, where it has one, its value; *i moves to the last word taken. */
static sw_status take_option(struct sw_args *args, int argc, char *const *argv, int *i, struct sw_error *err) {
    const char *word = argv[*i];
    const struct sw_option *option;
    const char *value = NULL; /* attached to the word itself */
    if (word[1] == '-') {
        struct sw_str name;
        struct sw_str rest = sw_str_split(sw_str_of(word + 2), '=', &name);
        value = rest.data;
        option = option_by_name(args->command, name);
        if (!option) {
            return unknown_option(args->command, name, err);
        }
    } else {
        option = option_by_letter(args->command, word[1]);
        if (!option) {
            return sw_fail(err, SW_E_USAGE, "unknown option %s", word);
        }
        value = word[2] ? word + 2 : NULL;
    }
    if (option->kind == SW_OPTION_KIND_FLAG) {
        if (value) {
            return sw_fail(err, SW_E_USAGE, "--%s takes no value, but was given '%s'", option->name, value);
        }
        return give(args, option, NULL, err);
    }
    if (!value) {
        if (*i + 1 >= argc || !strcmp(argv[*i + 1], "--")) {
            return sw_fail(err, SW_E_USAGE, "--%s needs a value: --%s %s", option->name, option->name,
                           option->argument);
        }
        value = argv[++*i];
    }
    return give(args, option, value, err);
}

/* The words of `positional` from the given one on: "PATH" of "NAME PATH" when one argument was given. */
static const char *positional_from(const char *positional, size_t given) {
    for (; given > 0 && strchr(positional, ' '); given--) {
        positional = strchr(positional, ' ') + 1;
    }
    return positional;
}

static sw_status check_count(const struct sw_args *args, struct sw_error *err) {
    const struct sw_command *command = args->command;
    if (args->positional_count < command->positional_min) {
        return sw_fail(err, SW_E_USAGE, "%s is missing", positional_from(command->positional, args->positional_count));
    }
    if (args->positional_count > command->positional_max) {
        return sw_fail(err, SW_E_USAGE, "one argument too many: '%s'", args->positional[command->positional_max]);
    }
    return SW_OK;
}

/* Is --help or -h among the words, before "--"? Then nothing else matters. */
static bool asks_for_help(int argc, char *const *argv, int from) {
    for (int i = from; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            return true;
        }
    }
    return false;
}

sw_status sw_args_parse(struct sw_args *ret, int argc, char *const *argv, struct sw_error *err) {
    *ret = (struct sw_args){0};
    if (argc < 2) {
        return sw_fail(err, SW_E_USAGE, "a command is missing");
    }
    if (argv[1][0] == '-') {
        return sw_fail(err, SW_E_USAGE, "expected a command before %s", argv[1]);
    }
    int i = 0;
    SW_TRY(find_command(argc, argv, &ret->command, &i, err));
    ret->given = sw_xcalloc((size_t)argc, sizeof *ret->given);
    ret->positional = sw_xcalloc((size_t)argc, sizeof *ret->positional);
    if (asks_for_help(argc, argv, i)) {
        ret->given[ret->given_count++].option = option_by_name(ret->command, SW_STR("help"));
        return SW_OK;
    }
    bool options_over = false;
    for (; i < argc; i++) {
        if (!options_over && !strcmp(argv[i], "--")) {
            options_over = true;
        } else if (!options_over && argv[i][0] == '-' && argv[i][1]) {
            SW_TRY(take_option(ret, argc, argv, &i, err));
        } else if (argv[i][0] == '\0') {
            return sw_fail(err, SW_E_USAGE, "an argument is empty");
        } else {
            ret->positional[ret->positional_count++] = argv[i];
        }
    }
    return check_count(ret, err);
}

void sw_args_deinit(struct sw_args *args) {
    sw_free(args->given);
    sw_free(args->positional);
    *args = (struct sw_args){0};
}

bool sw_args_has(const struct sw_args *args, enum sw_option_id id) {
    for (size_t i = 0; i < args->given_count; i++) {
        if (args->given[i].option->id == id) {
            return true;
        }
    }
    return false;
}

const char *sw_args_text(const struct sw_args *args, enum sw_option_id id) {
    for (size_t i = args->given_count; i-- > 0;) {
        if (args->given[i].option->id == id) {
            return args->given[i].value;
        }
    }
    for (size_t i = 0; i < args->command->option_count; i++) {
        if (args->command->options[i].id == id) {
            return args->command->options[i].fallback;
        }
    }
    return NULL;
}

uint64_t sw_args_integer(const struct sw_args *args, enum sw_option_id id) {
    uint64_t number = 0;
    const char *text = sw_args_text(args, id);
    SW_ASSERT(text && sw_parse_u64(sw_str_of(text), &number));
    return number;
}
