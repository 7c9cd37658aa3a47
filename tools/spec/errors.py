#!/usr/bin/env python3
"""spec/errors.toml -> enum sw_status (C header), its table (C source), or the reference page (Markdown).

Usage: errors.py {header|source|doc} SPEC OUTPUT
"""
import sys
import tomllib


def load(path):
    with open(path, "rb") as f:
        rows = tomllib.load(f)["error"]
    names = [r["name"] for r in rows]
    if len(set(names)) != len(names):
        sys.exit(f"{path}: an error name appears twice")
    return rows


def constant(name):
    return "SW_E_" + name.upper()


def header(rows):
    lines = [
        "/* Generated from spec/errors.toml; do not edit. */",
        "#ifndef SW_SPEC_ERRORS_H",
        "#define SW_SPEC_ERRORS_H",
        "",
        "/* What a Slipway function reports: SW_OK, or why it did not do what it was asked. */",
        "typedef enum sw_status {",
        "    SW_OK = 0,",
    ]
    for row in rows:
        lines.append(f"    {constant(row['name'])}, /* {row['text']} */")
    lines += ["    SW_STATUS_COUNT", "} sw_status;", "", "#endif", ""]
    return "\n".join(lines)


def source(rows):
    lines = [
        "/* Generated from spec/errors.toml; do not edit. */",
        '#include "base/error.h"',
        "",
        "const struct sw_status_info sw_status_table[SW_STATUS_COUNT] = {",
        '    [SW_OK] = {"ok", 200, 0, "Done."},',
    ]
    for row in rows:
        text = row["text"].replace('"', '\\"')
        lines.append(f"    [{constant(row['name'])}] = {{\"{row['name']}\", {row['http']}, {row['exit']}, \"{text}\"}},")
    lines += ["};", ""]
    return "\n".join(lines)


def doc(rows):
    lines = [
        "# Errors",
        "",
        "Generated from `spec/errors.toml`. Native routes answer",
        '`{"error":{"code","message","details","request_id"}}`; the exit code is that of the commands.',
        "",
        "| code | HTTP | exit | meaning |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| `{r['name']}` | {r['http']} | {r['exit']} | {r['text']} |" for r in rows]
    return "\n".join(lines) + "\n"


def main():
    kind, spec, output = sys.argv[1:4]
    text = {"header": header, "source": source, "doc": doc}[kind](load(spec))
    with open(output, "w", encoding="utf-8") as f:
        f.write(text)


if __name__ == "__main__":
    main()
