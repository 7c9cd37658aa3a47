/* Help texts from the tables of commands, wrapped to the terminal. */
#include "cli/options.h"

enum { LABEL_COLUMN_MAX = 28 };

/* Appends text word by word; lines after the first begin at `indent`. `column` is where the cursor stands. */
static void wrap(struct sw_buf *out, const char *text, size_t indent, size_t column, size_t width) {
    const char *p = text;
    bool first = true;
    while (*p) {
        if (*p == '\n') {
            SW_LIT(out, "\n");
            sw_buf_printf(out, "%*s", (int)indent, "");
            column = indent;
            first = true;
            p++;
            continue;
        }
        size_t n = strcspn(p, " \n");
        if (!first && column + 1 + n > width) {
            sw_buf_printf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (!first) {
            sw_buf_append_c(out, ' ');
            column++;
        }
        sw_buf_append(out, p, n);
        column += n;
        first = false;
        p += n;
        p += strspn(p, " ");
    }
    SW_LIT(out, "\n");
}

/* "  label   text", the text in its own column; a label too long for that stands on a line of its own. */
static void row(struct sw_buf *out, const char *label, const char *text, size_t label_width, size_t width) {
    size_t indent = label_width + 4;
    size_t n = strlen(label);
    sw_buf_printf(out, "  %s", label);
    if (n > label_width) {
        sw_buf_printf(out, "\n%*s", (int)indent, "");
    } else {
        sw_buf_printf(out, "%*s", (int)(indent - 2 - n), "");
    }
    wrap(out, text, indent, indent, width);
}

static size_t label_column(size_t widest) {
    return widest < LABEL_COLUMN_MAX ? widest : LABEL_COLUMN_MAX;
}

static void command_rows(struct sw_buf *out, struct sw_str group, size_t width) {
    size_t widest = 0;
    for (size_t i = 0; i < SW_COMMAND_COUNT; i++) {
        size_t n = strlen(sw_commands[i].name);
        widest = n > widest ? n : widest;
    }
    const char *section = NULL;
    for (size_t i = 0; i < SW_COMMAND_COUNT; i++) {
        const struct sw_command *c = &sw_commands[i];
        if (group.len && !sw_str_starts(sw_str_of(c->name), group)) {
            continue;
        }
        if (!section || strcmp(section, c->section) != 0) {
            section = c->section;
            sw_buf_printf(out, "\n%s:\n", section);
        }
        row(out, c->name, c->summary, label_column(widest), width);
    }
}

void sw_help_program(struct sw_buf *out, size_t width) {
    sw_buf_printf(out, "slipway %s: %s\n\nusage: slipway COMMAND [ARGUMENT]... [OPTION]...\n", SW_VERSION,
                  sw_program_summary);
    command_rows(out, SW_STR(""), width);
    SW_LIT(out, "\nStart here:\n");
    sw_buf_printf(out, "  %s\n", sw_commands[SW_COMMAND_SERVE].examples[0].run);
    SW_LIT(out, "  slipway help serve\n\nExit codes:\n");
    for (size_t i = 0; i < sw_exit_code_count; i++) {
        char code[16];
        snprintf(code, sizeof code, "%d", sw_exit_codes[i].code);
        row(out, code, sw_exit_codes[i].text, 1, width);
    }
}

bool sw_help_group(struct sw_buf *out, struct sw_str word, size_t width) {
    char prefix[128];
    snprintf(prefix, sizeof prefix, SW_STR_FMT " ", SW_STR_ARG(word));
    for (size_t i = 0; i < SW_COMMAND_COUNT; i++) {
        if (sw_str_starts(sw_str_of(sw_commands[i].name), sw_str_of(prefix))) {
            sw_buf_printf(out, "usage: slipway %sCOMMAND [ARGUMENT]... [OPTION]...\n", prefix);
            command_rows(out, sw_str_of(prefix), width);
            return true;
        }
    }
    return false;
}

static void option_label(const struct sw_option *option, char *label, size_t size) {
    char letter[8] = "    ";
    if (option->letter) {
        snprintf(letter, sizeof letter, "-%c, ", option->letter);
    }
    snprintf(label, size, "%s--%s%s%s", letter, option->name, option->argument ? " " : "",
             option->argument ? option->argument : "");
}

static void option_rows(struct sw_buf *out, const struct sw_command *command, size_t width) {
    char label[128];
    size_t widest = 0;
    for (size_t i = 0; i < command->option_count; i++) {
        option_label(&command->options[i], label, sizeof label);
        widest = strlen(label) > widest ? strlen(label) : widest;
    }
    for (size_t i = 0; i < command->option_count; i++) {
        const struct sw_option *option = &command->options[i];
        char text[512];
        snprintf(text, sizeof text, "%s%s%s%s", option->help, option->fallback ? " Default: " : "",
                 option->fallback ? option->fallback : "", option->fallback ? "." : "");
        option_label(option, label, sizeof label);
        row(out, label, text, label_column(widest), width);
    }
}

void sw_help_command(struct sw_buf *out, const struct sw_command *command, size_t width) {
    sw_buf_printf(out, "usage: %s\n\n", command->usage);
    wrap(out, command->description, 0, 0, width);
    SW_LIT(out, "\nOptions:\n");
    option_rows(out, command, width);
    SW_LIT(out, "\nExamples:\n");
    for (size_t i = 0; i < command->example_count; i++) {
        sw_buf_printf(out, "%s  # %s\n  %s\n", i ? "\n" : "", command->examples[i].text, command->examples[i].run);
    }
}
