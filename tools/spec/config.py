#!/usr/bin/env python3
"""spec/config.toml -> enum of keys (C header), their table (C source), or the reference page (Markdown).

Usage: config.py {header|source|doc} SPEC OUTPUT
"""
import re
import sys
import tomllib

TYPES = ("text", "path", "integer", "size", "duration", "choice", "boolean")
SIZES = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
DURATIONS_US = {"us": 1, "ms": 1000, "s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6}
U64_MAX = 2**64 - 1


def number(key, text):
    """A value of the key as the unsigned number that the loader keeps (bytes, microseconds, count)."""
    match = re.fullmatch(r"(\d+)([A-Za-z]*)", text)
    if match:
        units = {"size": SIZES, "duration": DURATIONS_US, "integer": {"": 1}}[key["type"]]
        if match[2] in units:
            return int(match[1]) * units[match[2]]
    sys.exit(f"config key {key['id']}: cannot read {text!r} as a {key['type']}")


def check(key, sections):
    """Ends the program when a row of the table is wrong."""
    name = key["id"]
    if key["section"] not in sections:
        sys.exit(f"config key {name}: unknown section")
    if key["type"] not in TYPES:
        sys.exit(f"config key {name}: unknown type {key['type']}")
    if key["type"] in ("integer", "size", "duration"):
        if not number(key, key["min"]) <= number(key, key["default"]) <= number(key, key["max"]):
            sys.exit(f"config key {name}: the default is out of bounds")
        if ("zero" in key) != (number(key, key["min"]) == 0):
            sys.exit(f"config key {name}: say what zero means, or forbid it")
    if key["type"] == "choice" and key["default"] not in key["choices"]:
        sys.exit(f"config key {name}: the default is not a choice")


def load(path):
    with open(path, "rb") as f:
        spec = tomllib.load(f)
    sections = [s["name"] for s in spec["section"]]
    for key in spec["key"]:
        key["id"] = f"{key['section']}.{key['name']}"
        key["constant"] = "SW_KEY_" + key["id"].replace(".", "_").upper()
        key["variable"] = "SLIPWAY_" + key["id"].replace(".", "_").upper()
        check(key, sections)
    variables = [k["variable"] for k in spec["key"]] + [e["name"] for e in spec["environment"]]
    if len(set(variables)) != len(variables):
        sys.exit(f"{path}: two keys share a name or variable")
    return spec


def c_string(text):
    if text is None:
        return "NULL"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def header(spec):
    lines = [
        "/* Generated from spec/config.toml; do not edit. */",
        "#ifndef SW_SPEC_CONFIG_H",
        "#define SW_SPEC_CONFIG_H",
        "",
        "/* Every configuration key, in the order of the reference; keys of one section stand together. */",
        "enum sw_config_key {",
    ]
    lines += [f"    {k['constant']}, /* {k['id']} */" for k in spec["key"]]
    lines += ["    SW_KEY_COUNT", "};", "", "#endif", ""]
    return "\n".join(lines)


def source_row(key):
    numeric = key["type"] in ("integer", "size", "duration")
    fields = [
        f".section = {c_string(key['section'])}",
        f".name = {c_string(key['name'])}",
        f".id = {c_string(key['id'])}",
        f".variable = {c_string(key['variable'])}",
        f".type = SW_CONFIG_{key['type'].upper()}",
        f".fallback = {c_string(key['default'])}",
        f".help = {c_string(key['help'])}",
        f".zero = {c_string(key.get('zero'))}",
    ]
    if numeric:
        fields.append(f".min = {number(key, key['min'])}ull")
        fields.append(f".max = {min(number(key, key['max']), U64_MAX)}ull")
    if "choices" in key:
        fields.append(".choices = (const char *const[]){" + ", ".join(map(c_string, key["choices"])) + ", NULL}")
    fields.append(f".reloadable = {'true' if key.get('reloadable') else 'false'}")
    fields.append(f".secret = {'true' if key.get('secret') else 'false'}")
    return f"    [{key['constant']}] = {{\n        " + ",\n        ".join(fields) + ",\n    },"


def source(spec):
    lines = ["/* Generated from spec/config.toml; do not edit. */", '#include "cli/config.h"', ""]
    lines.append("const struct sw_config_key_info sw_config_keys[SW_KEY_COUNT] = {")
    lines += [source_row(k) for k in spec["key"]]
    lines += ["};", "", "const char *const sw_config_other_variables[] = {"]
    lines += [f"    {c_string(e['name'])}," for e in spec["environment"]]
    lines += ["    NULL,", "};", ""]
    return "\n".join(lines)


def doc_row(key):
    default = f"`{key['default']}`" if key["default"] else "not set"
    values = {
        "choice": ", ".join(f"`{c}`" for c in key.get("choices", [])),
        "boolean": "`true`, `false`",
        "text": "text",
        "path": "path",
    }.get(key["type"]) or f"{key['type']}, {key['min']} to {key['max']}" + (f" {key['unit']}" if "unit" in key else "")
    text = key["help"] + (f" 0: {key['zero']}." if "zero" in key else "")
    if key.get("reloadable"):
        text += " *SIGHUP applies it.*"
    return f"| `{key['name']}` | {default} | {values} | {text} |"


def doc(spec):
    lines = [
        "# Configuration",
        "",
        "Generated from `spec/config.toml`.",
        "",
        "A value comes from, the later the stronger: the default, the configuration file (`--config FILE` or",
        "`SLIPWAY_CONFIG`), the environment (`SLIPWAY_SECTION_KEY`), the command line (`--set SECTION.KEY=VALUE`, or",
        "an option of its own such as `--port`). `slipway config show` prints what is in force and where it comes",
        "from; `slipway config check FILE` checks a file. Unknown keys are refused.",
        "",
        "```yaml",
        "# slipway.yaml",
        "server:",
        "  port: 8080",
        "  max_body_bytes: 64MiB",
        "  drain_timeout: 30s",
        "log:",
        "  level: info",
        "```",
        "",
        "Sizes are bytes, or take B, KiB, MiB, GiB, TiB; durations take us, ms, s, m, h. Relative paths start at the",
        "working directory.",
    ]
    for section in spec["section"]:
        lines += ["", f"## {section['name']}", "", section["help"], ""]
        lines += ["| key | default | values | meaning |", "| --- | --- | --- | --- |"]
        lines += [doc_row(k) for k in spec["key"] if k["section"] == section["name"]]
    lines += ["", "## Other variables of the environment", "", "| variable | meaning |", "| --- | --- |"]
    lines += [f"| `{e['name']}` | {e['help']} |" for e in spec["environment"]]
    return "\n".join(lines) + "\n"


def main():
    kind, spec, output = sys.argv[1:4]
    text = {"header": header, "source": source, "doc": doc}[kind](load(spec))
    with open(output, "w", encoding="utf-8") as f:
        f.write(text)


if __name__ == "__main__":
    main()
