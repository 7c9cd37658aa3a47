#!/usr/bin/env python3
"""spec/alerts.toml -> the default alert rules as YAML in C, the rules for Prometheus, or the reference page (Markdown).

Usage: alerts.py {source|prometheus|doc} SPEC OUTPUT
"""
import json
import re
import sys
import tomllib

KEYS = {"name", "metric", "above", "below", "for", "min_samples", "model", "severity", "summary", "why", "expr"}
WANTED = {"name", "metric", "for", "severity", "summary", "why", "expr"}
SEVERITIES = ("info", "warning", "critical")
PREFIX = "Slipway"


def load(path):
    with open(path, "rb") as f:
        rows = tomllib.load(f)["alert"]
    seen = set()
    for row in rows:
        name = row.get("name", "?")

        def refuse(why):
            sys.exit(f"{path}: {name}: {why}")

        if set(row) - KEYS or WANTED - set(row):
            refuse(f"unknown or missing keys: {sorted((set(row) - KEYS) | (WANTED - set(row)))}")
        if ("above" in row) == ("below" in row):
            refuse("one of above and below is wanted")
        if not re.fullmatch(r"[A-Z][A-Za-z]*", name) or name in seen:
            refuse("not a name, or twice")
        if row["severity"] not in SEVERITIES or not row["summary"].endswith("."):
            refuse(f"severity is one of {SEVERITIES}, summary a sentence")
        if not re.search(rf" {'>' if 'above' in row else '<'} {re.escape(format(threshold(row), 'g'))}$", row["expr"]):
            refuse("expr does not end with the threshold")
        seen.add(name)
    return rows


def threshold(row):
    return row["above"] if "above" in row else row["below"]


def side(row):
    return "above" if "above" in row else "below"


def quoted(text):
    return json.dumps(text, ensure_ascii=False)  # a JSON string is one of YAML


def rule_lines(row):
    lines = [f"  - name: {row['name']}", f"    metric: {row['metric']}", f"    {side(row)}: {threshold(row)}",
             f"    for: {row['for']}", f"    severity: {row['severity']}", f"    summary: {quoted(row['summary'])}"]
    return lines + [f"    {key}: {row[key]}" for key in ("min_samples", "model") if key in row]


def source(rows):
    lines = ["/* Generated from spec/alerts.toml; do not edit. */", '#include "observe/rules.h"', "",
             "const char sw_default_rules_yaml[] =", '    "rules:\\n"']
    for row in rows:
        for line in rule_lines(row):
            text = line.replace("\\", "\\\\").replace('"', '\\"')
            lines.append(f'    "{text}\\n"')
    lines[-1] += ";"
    return "\n".join(lines) + "\n"


def prometheus(rows):
    lines = ["# Generated from spec/alerts.toml: the server's default alert rules, for a Prometheus that scrapes it.",
             "# promtool check rules deploy/prometheus/rules.yaml", "groups:", "  - name: slipway", "    rules:"]
    for row in rows:
        of_model = "{{ with $labels.model }} of model {{ . }}{{ end }}"
        described = (f"{row['metric']}{of_model} on {{{{ $labels.instance }}}} is {{{{ $value | printf \"%.4g\" }}}}, "
                     f"{side(row)} {threshold(row):g} for {row['for']}.")
        lines += [f"      - alert: {PREFIX}{row['name']}", f"        expr: {quoted(row['expr'])}",
                  f"        for: {row['for']}", "        labels:", f"          severity: {row['severity']}",
                  "          service: slipway", "        annotations:", f"          summary: {quoted(row['summary'])}",
                  f"          description: {quoted(described)}"]
    return "\n".join(lines) + "\n"


def doc(rows):
    lines = ["# Default alerts", "", "Generated from `spec/alerts.toml`. How to change them, add others and be told of them: "
             "[monitoring](../monitoring.md).", "`deploy/prometheus/rules.yaml` has the same for Prometheus, their names with "
             f"`{PREFIX}` in front.", "", "| alert | severity | condition | meaning |", "| --- | --- | --- | --- |"]
    for row in rows:
        samples = f", with at least {row['min_samples']} requests" if "min_samples" in row else ""
        samples += f", model `{row['model']}`" if "model" in row else ""
        lines.append(f"| `{row['name']}` | {row['severity']} | `{row['metric']}` {side(row)} {threshold(row):g} for "
                     f"{row['for']}{samples} | {row['summary']} {row['why']} |")
    return "\n".join(lines) + "\n"


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    kind, spec, output = sys.argv[1:]
    make = {"source": source, "prometheus": prometheus, "doc": doc}.get(kind)
    if not make:
        sys.exit(__doc__)
    with open(output, "w", encoding="utf-8") as f:
        f.write(make(load(spec)))


if __name__ == "__main__":
    main()
