#!/usr/bin/env python3
"""spec/commands.toml -> parser tables (C header and source), manual page, shell completions, reference page.

Usage: commands.py {header|source|man|bash|zsh|fish|doc} COMMANDS_TOML CONFIG_TOML OUTPUT

An option that sets a configuration key takes its default from CONFIG_TOML. Shells complete from the same table.
"""
import sys
import tomllib

import config

KINDS = ("flag", "text", "integer", "file", "directory")


def load(path, config_path):
    with open(path, "rb") as f:
        spec = tomllib.load(f)
    keys = {k["id"]: k for k in config.load(config_path)["key"]}
    for option in spec["option"]:
        if option["kind"] not in KINDS:
            sys.exit(f"option --{option['name']}: unknown kind {option['kind']}")
        if "key" in option and option["key"] not in keys:
            sys.exit(f"option --{option['name']}: there is no configuration key {option['key']}")
        if option["kind"] == "integer" and not {"default", "min", "max"} <= set(option):
            sys.exit(f"option --{option['name']}: an integer needs default, min and max")
        option["constant"] = "SW_OPTION_" + option["name"].replace("-", "_").upper()
        option["key_info"] = keys.get(option.get("key"))
    for command in spec["command"]:
        command["constant"] = "SW_COMMAND_" + command["name"].replace(" ", "_").upper()
        own = [o for o in spec["option"] if o.get("command") == command["name"]]
        shared = [o for g in command["groups"] for o in spec["option"] if o.get("group") == g]
        command["options"] = own + shared
        for what in ("name", "letter"):
            given = [o[what] for o in command["options"] if what in o]
            if len(set(given)) != len(given):
                sys.exit(f"command {command['name']}: an option {what} appears twice")
    return spec


def default_text(option):
    """The default as help shows it, or None."""
    if option["kind"] == "flag":
        return None
    if option["key_info"]:
        return option["key_info"]["default"] or None
    return str(option["default"]) if "default" in option else None


def usage(command):
    words = [f"slipway {command['name']}"]
    if command["positional"]:
        words.append(command["positional"])
    return " ".join(words + ["[OPTION]..."])


def spelled(option):
    """`-p, --port PORT`"""
    text = f"-{option['letter']}, " if "letter" in option else "    "
    text += f"--{option['name']}"
    return text + (f" {option['argument']}" if option["kind"] != "flag" else "")


# --- C --------------------------------------------------------------------------------------------------------------


def header(spec):
    lines = [
        "/* Generated from spec/commands.toml; do not edit. */",
        "#ifndef SW_SPEC_COMMANDS_H",
        "#define SW_SPEC_COMMANDS_H",
        "",
        "/* One per option name, over all commands. */",
        "enum sw_option_id {",
    ]
    lines += [f"    {name}," for name in dict.fromkeys(o["constant"] for o in spec["option"])]
    lines += ["    SW_OPTION_COUNT", "};", "", "enum sw_command_id {"]
    lines += [f"    {c['constant']}," for c in spec["command"]]
    lines += ["    SW_COMMAND_COUNT", "};", "", "#endif", ""]
    return "\n".join(lines)


def c_option(option):
    quote = config.c_string
    fields = [
        f".id = {option['constant']}",
        f".name = {quote(option['name'])}",
        f".kind = SW_OPTION_KIND_{option['kind'].upper()}",
        f".help = {quote(option['help'])}",
        f".key = {option['key_info']['constant'] if option['key_info'] else '-1'}",
    ]
    if "letter" in option:
        fields.append(f".letter = '{option['letter']}'")
    if option["kind"] != "flag":
        fields.append(f".argument = {quote(option['argument'])}")
    if default_text(option):
        fields.append(f".fallback = {quote(default_text(option))}")
    if option["kind"] == "integer":
        fields.append(f".min = {option['min']}ull, .max = {option['max']}ull")
    if option.get("repeatable"):
        fields.append(".repeatable = true")
    return "    {" + ", ".join(fields) + "},"


def source(spec):
    quote = config.c_string
    lines = ["/* Generated from spec/commands.toml; do not edit. */", '#include "cli/options.h"', "",
             '#include "spec/config.h"', ""]
    for command in spec["command"]:
        symbol = command["constant"].lower()
        if command["options"]:
            lines.append(f"static const struct sw_option {symbol}_options[] = {{")
            lines += [c_option(o) for o in command["options"]] + ["};", ""]
        lines.append(f"static const struct sw_example {symbol}_examples[] = {{")
        lines += [f"    {{{quote(e['text'])}, {quote(e['run'])}}}," for e in command["example"]] + ["};", ""]
    lines.append("const struct sw_command sw_commands[SW_COMMAND_COUNT] = {")
    for command in spec["command"]:
        symbol = command["constant"].lower()
        maximum = "SIZE_MAX" if command["max"] < 0 else str(command["max"])
        fields = [
            f".id = {command['constant']}",
            f".name = {quote(command['name'])}",
            f".section = {quote(command['section'])}",
            f".summary = {quote(command['summary'])}",
            f".description = {quote(command['description'].strip())}",
            f".usage = {quote(usage(command))}",
            f".positional = {quote(command['positional'])}",
            f".positional_min = {command['min']}",
            f".positional_max = {maximum}",
            f".options = {symbol}_options",
            f".option_count = SW_COUNTOF({symbol}_options)",
            f".examples = {symbol}_examples",
            f".example_count = SW_COUNTOF({symbol}_examples)",
        ]
        lines.append(f"    [{command['constant']}] = {{\n        " + ",\n        ".join(fields) + ",\n    },")
    lines += ["};", ""]
    program = spec["program"]
    lines.append(f"const char sw_program_summary[] = {quote(program['summary'])};")
    lines.append(f"const char sw_program_description[] = {quote(program['description'].strip())};")
    lines.append("const struct sw_exit_code sw_exit_codes[] = {")
    lines += [f"    {{{e['code']}, {quote(e['text'])}}}," for e in spec["exit"]]
    lines += ["};", f"const size_t sw_exit_code_count = {len(spec['exit'])};", ""]
    return "\n".join(lines)


# --- manual page ----------------------------------------------------------------------------------------------------


def roff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + line if line[:1] in (".", "'") else line for line in text.split("\n"))


def roff_option(option):
    names = [f"\\-{option['letter']}"] if "letter" in option else []
    names.append("\\-\\-" + roff(option["name"]))
    text = ", ".join(f"\\fB{n}\\fR" for n in names)
    if option["kind"] != "flag":
        text += f" \\fI{roff(option['argument'])}\\fR"
    body = option["help"] + (f" Default: {default_text(option)}." if default_text(option) else "")
    return [".TP", text, roff(body)]


def man(spec):
    program = spec["program"]
    lines = ['.\\" Generated from spec/commands.toml; do not edit.', '.TH SLIPWAY 1 "" "Slipway" "User Commands"',
             ".SH NAME", f"slipway \\- {roff(program['summary'])}", ".SH SYNOPSIS"]
    for command in spec["command"]:
        lines += [".PP", f"\\fBslipway {roff(command['name'])}\\fR "
                  + roff(usage(command).removeprefix(f"slipway {command['name']} "))]
    lines += [".SH DESCRIPTION", roff(program["description"].strip()), ".SH COMMANDS"]
    for command in spec["command"]:
        lines += [f".SS {roff(usage(command))}", roff(command["summary"])]
        lines += [".PP", roff(command["description"].strip()).replace("\n\n", "\n.PP\n")]
        for option in command["options"]:
            lines += roff_option(option)
        lines += [".PP", "Examples:"]
        for example in command["example"]:
            lines += [".TP", roff(example["text"]), ".EX", roff(example["run"]), ".EE"]
    lines += [".SH CONFIGURATION",
              "A value comes from, the later the stronger: the default, the configuration file, the environment, the "
              "command line."]
    for key in spec["config"]["key"]:
        text = key["help"] + (f" 0: {key['zero']}." if "zero" in key else "")
        text += f" Default: {key['default']}." if key["default"] else " Default: not set."
        lines += [".TP", f"\\fB{roff(key['id'])}\\fR (\\fB{key['variable']}\\fR)", roff(text)]
    lines.append(".SH ENVIRONMENT")
    for variable in spec["config"]["environment"]:
        lines += [".TP", f"\\fB{variable['name']}\\fR", roff(variable["help"])]
    lines.append(".SH EXIT STATUS")
    for row in spec["exit"]:
        lines += [".TP", f"\\fB{row['code']}\\fR", roff(row["text"])]
    return "\n".join(lines) + "\n"


# --- shell completions ----------------------------------------------------------------------------------------------


def words_of(option):
    return [f"--{option['name']}"] + ([f"-{option['letter']}"] if "letter" in option else [])


def bash(spec):
    firsts = list(dict.fromkeys(c["name"].split()[0] for c in spec["command"]))
    groups = {}
    for command in spec["command"]:
        head, _, tail = command["name"].partition(" ")
        if tail:
            groups.setdefault(head, []).append(tail)
    keys = " ".join(k["id"] + "=" for k in spec["config"]["key"])
    lines = ["# bash completion for slipway. Generated from spec/commands.toml; do not edit.",
             "_slipway() {",
             "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}",
             "    local command=${COMP_WORDS[1]} options= positional=",
             "    COMPREPLY=()",
             "    if [ \"$COMP_CWORD\" -eq 1 ]; then",
             f"        COMPREPLY=($(compgen -W \"{' '.join(firsts)} --help --version\" -- \"$current\"))",
             "        return",
             "    fi"]
    for head, tails in groups.items():
        lines += [f"    if [ \"$command\" = {head} ]; then",
                  "        if [ \"$COMP_CWORD\" -eq 2 ]; then",
                  f"            COMPREPLY=($(compgen -W \"{' '.join(tails)}\" -- \"$current\"))",
                  "            return",
                  "        fi",
                  f"        command=\"{head} ${{COMP_WORDS[2]}}\"",
                  "    fi"]
    files, folders, texts = set(), set(), set()
    for option in spec["option"]:
        target = {"file": files, "directory": folders, "flag": None}.get(option["kind"], texts)
        if target is not None and option["name"] != "set":
            target.update(words_of(option))
    lines += ["    case \"$previous\" in",
              f"        {'|'.join(sorted(files))}) COMPREPLY=($(compgen -f -- \"$current\")); return ;;",
              f"        {'|'.join(sorted(folders))}) COMPREPLY=($(compgen -d -- \"$current\")); return ;;",
              "        -s|--set)",
              "            compopt -o nospace",
              f"            COMPREPLY=($(compgen -W \"{keys}\" -- \"$current\"))",
              "            return ;;",
              f"        {'|'.join(sorted(texts))}) return ;;",
              "    esac",
              "    case \"$command\" in"]
    for command in spec["command"]:
        options = " ".join(w for o in command["options"] for w in words_of(o))
        kind = command.get("complete", "none")
        lines.append(f"        \"{command['name']}\") options=\"{options}\" positional={kind} ;;")
    lines += ["    esac",
              "    case \"$current\" in",
              "        -*) COMPREPLY=($(compgen -W \"$options\" -- \"$current\")); return ;;",
              "    esac",
              "    case \"$positional\" in",
              "        file) COMPREPLY=($(compgen -f -- \"$current\")) ;;",
              f"        command) COMPREPLY=($(compgen -W \"{' '.join(firsts)}\" -- \"$current\")) ;;",
              "    esac",
              "}",
              "complete -o filenames -F _slipway slipway", ""]
    return "\n".join(lines)


def single_quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


def zsh_option(option):
    """_arguments specs: '-p+[help]:PORT:action', '--port=[help]:PORT:action'."""
    actions = {"file": "_files", "directory": "_files -/", "text": " ", "integer": " "}
    note = option["help"].replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
    value = "" if option["kind"] == "flag" else f":{option['argument']}:{actions[option['kind']]}"
    star = "*" if option.get("repeatable") else ""
    specs = [f"{star}--{option['name']}{'' if option['kind'] == 'flag' else '='}[{note}]{value}"]
    if "letter" in option:
        specs.append(f"{star}-{option['letter']}{'' if option['kind'] == 'flag' else '+'}[{note}]{value}")
    return [single_quoted(s) for s in specs]


def zsh(spec):
    lines = ["#compdef slipway", "# zsh completion for slipway. Generated from spec/commands.toml; do not edit.",
             "_slipway() {", "    local -a commands", "    commands=("]
    tops = {}
    for command in spec["command"]:
        tops.setdefault(command["name"].split()[0], command["summary"])
    lines += [f"        {single_quoted(name + ':' + text.replace(':', ' '))}" for name, text in tops.items()]
    lines += ["    )", "    if (( CURRENT == 2 )); then", "        _describe command commands", "        return",
              "    fi", "    local command=$words[2]"]
    for head in dict.fromkeys(c["name"].split()[0] for c in spec["command"] if " " in c["name"]):
        tails = [c["name"].split()[1] for c in spec["command"] if c["name"].startswith(head + " ")]
        lines += [f"    if [[ $command == {head} ]]; then",
                  f"        if (( CURRENT == 3 )); then compadd {' '.join(tails)}; return; fi",
                  f"        command=\"{head} $words[3]\"",
                  "        shift words; (( CURRENT-- ))",
                  "    fi"]
    lines += ["    shift words; (( CURRENT-- ))", "    case $command in"]
    for command in spec["command"]:
        specs = [s for o in command["options"] for s in zsh_option(o)]
        action = {"file": "'*:path:_files'", "command": f"'*:command:({' '.join(tops)})'"}.get(command.get("complete"))
        specs += [action] if action else []
        lines.append(f"        {single_quoted(command['name'])})")
        lines.append("            _arguments \\")
        lines.append(" \\\n".join("                " + s for s in specs) + " ;;")
    lines += ["    esac", "}", "_slipway \"$@\"", ""]
    return "\n".join(lines)


def fish(spec):
    lines = ["# fish completion for slipway. Generated from spec/commands.toml; do not edit.",
             "complete -c slipway -f"]
    seen = set()
    for command in spec["command"]:
        head, _, tail = command["name"].partition(" ")
        text = single_quoted(command["summary"])
        if head not in seen:
            seen.add(head)
            lines.append(f"complete -c slipway -n __fish_use_subcommand -a {head} -d {text}")
        condition = f"__fish_seen_subcommand_from {head}"
        if tail:
            lines.append(f"complete -c slipway -n '__fish_seen_subcommand_from {head}' -a {tail} -d {text}")
            condition += f"; and __fish_seen_subcommand_from {tail}"
        if command.get("complete") == "file":
            lines.append(f"complete -c slipway -n '{condition}' -F")
        for option in command["options"]:
            row = f"complete -c slipway -n '{condition}' -l {option['name']}"
            row += f" -s {option['letter']}" if "letter" in option else ""
            row += {"flag": "", "file": " -r -F", "directory": " -x -a '(__fish_complete_directories)'"}.get(
                option["kind"], " -x")
            lines.append(row + f" -d {single_quoted(option['help'])}")
    return "\n".join(lines) + "\n"


# --- reference page -------------------------------------------------------------------------------------------------


def doc(spec):
    lines = ["# Commands", "", "Generated from `spec/commands.toml`. `slipway help COMMAND` shows the same.", "",
             "| command | what it does |", "| --- | --- |"]
    lines += [f"| [`{c['name']}`](#{c['name'].replace(' ', '-')}) | {c['summary']} |" for c in spec["command"]]
    lines += ["", "| exit code | meaning |", "| --- | --- |"]
    lines += [f"| {e['code']} | {e['text']} |" for e in spec["exit"]]
    lines += ["", "Results go to standard output, for people or with `--json` for programs; messages, logs and "
              "progress go to", "standard error."]
    lines += ["", "The same as a manual page: `man build/spec/slipway.1`. Completion for bash: `source "
              "build/spec/slipway.bash`;", "for zsh and fish there are `_slipway` and `slipway.fish` beside it. "
              "`meson install -C build` puts all of them and the", "program in place; ONNX Runtime then belongs into "
              "`lib/slipway/` beside the program's `bin/`, or `SLIPWAY_ORT_LIB` names it."]
    for command in spec["command"]:
        lines += ["", f"## {command['name']}", "", "```", usage(command), "```", "", command["description"].strip(), "",
                  "| option | default | meaning |", "| --- | --- | --- |"]
        for option in command["options"]:
            default = f"`{default_text(option)}`" if default_text(option) else ""
            lines.append(f"| `{spelled(option).strip()}` | {default} | {option['help']} |")
        lines += ["", "```sh"]
        for example in command["example"]:
            lines += [f"# {example['text']}", example["run"]]
        lines.append("```")
    return "\n".join(lines) + "\n"


def main():
    kind, spec_path, config_path, output = sys.argv[1:5]
    spec = load(spec_path, config_path)
    spec["config"] = config.load(config_path)
    writers = {"header": header, "source": source, "man": man, "bash": bash, "zsh": zsh, "fish": fish, "doc": doc}
    with open(output, "w", encoding="utf-8") as f:
        f.write(writers[kind](spec))


if __name__ == "__main__":
    main()
