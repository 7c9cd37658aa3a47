#!/usr/bin/env python3
"""spec/metrics.toml -> enum sw_metric (C header), its table (C source), or the reference page (Markdown).

Usage: metrics.py {header|source|doc} SPEC OUTPUT
       metrics.py check SPEC PAGE      exit 1 when the reference page is not what `doc` would write
"""
import re
import sys
import tomllib
from decimal import Decimal

LABELS_MAX = 5
BUCKETS_MAX = 24
KEYS = {"name", "type", "labels", "help", "buckets", "sampled"}


def load(path):
    with open(path, "rb") as f:
        spec = tomllib.load(f, parse_float=Decimal)
    lists = {name: check_buckets(path, name, bounds) for name, bounds in spec["buckets"].items()}
    seen = set()
    rows = spec["metric"]
    for row in rows:
        check(path, row, lists)
        if row["name"] in seen:
            sys.exit(f"{path}: {row['name']} appears twice")
        seen.add(row["name"])
        row["bounds"] = lists[row["buckets"]] if row["type"] == "histogram" else []
        row.setdefault("labels", [])
        row.setdefault("sampled", False)
    return rows


def check_buckets(path, name, bounds):
    bounds = [Decimal(b) for b in bounds]
    if not bounds or len(bounds) > BUCKETS_MAX or bounds != sorted(set(bounds)):
        sys.exit(f"{path}: buckets {name}: 1 to {BUCKETS_MAX} ascending bounds are wanted")
    if any(b * 10**9 != int(b * 10**9) or b <= 0 for b in bounds):
        sys.exit(f"{path}: buckets {name}: bounds are whole nanoseconds above 0")
    return bounds


def check(path, row, lists):
    name = row.get("name", "?")

    def refuse(why):
        sys.exit(f"{path}: {name}: {why}")

    if set(row) - KEYS:
        refuse(f"unknown keys {sorted(set(row) - KEYS)}")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        refuse("not a metric name")
    if row.get("type") not in ("counter", "gauge", "histogram"):
        refuse("type is counter, gauge or histogram")
    if (row["type"] == "counter") != name.endswith("_total"):
        refuse("counters, and only they, end in _total")
    if row["type"] == "histogram" and not (name.endswith(("_seconds", "_rows")) and row.get("buckets") in lists):
        refuse("a histogram ends in _seconds or _rows and names its buckets")
    if row["type"] != "histogram" and "buckets" in row:
        refuse("only histograms have buckets")
    if row.get("sampled") and row["type"] != "counter":
        refuse("only counters are sampled")
    labels = row.get("labels", [])
    if len(labels) > LABELS_MAX or len(set(labels)) != len(labels):
        refuse(f"at most {LABELS_MAX} different labels")
    if any(not re.fullmatch(r"[a-z][a-z0-9_]*", x) or x in ("le", "quantile") for x in labels):
        refuse("not a label name")
    if not row.get("help", "").endswith(".") or re.search(r'["\\\n]', row["help"]):
        refuse("help is a sentence without quotes, backslashes and line breaks")


def constant(row):
    return "SW_METRIC_" + row["name"].upper()


def seconds(bound):
    text = format(bound, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def header(rows):
    lines = [
        "/* Generated from spec/metrics.toml; do not edit. */",
        "#ifndef SW_SPEC_METRICS_H",
        "#define SW_SPEC_METRICS_H",
        "",
        "#include <stdbool.h>",
        "#include <stdint.h>",
        "",
        "/* The families of metrics. */",
        "enum sw_metric {",
    ]
    lines += [f"    {constant(r)}, /* {r['type']} {{{','.join(r['labels'])}}}: {r['help']} */" for r in rows]
    lines += [
        "    SW_METRIC_COUNT",
        "};",
        "",
        "enum sw_metric_type { SW_METRIC_COUNTER, SW_METRIC_GAUGE, SW_METRIC_HISTOGRAM };",
        f"enum {{ SW_METRIC_LABELS_MAX = {LABELS_MAX}, SW_METRIC_BUCKETS_MAX = {BUCKETS_MAX} }};",
        "",
        "/* One family. Buckets: upper bounds in nanoseconds, and as the exposition writes them; +Inf is left out. */",
        "struct sw_metric_info {",
        "    const char *name, *help;",
        "    enum sw_metric_type type;",
        "    bool sampled; /* a counter that is set, not added to */",
        "    unsigned label_count, bucket_count;",
        "    const char *labels[SW_METRIC_LABELS_MAX];",
        "    uint64_t bucket_ns[SW_METRIC_BUCKETS_MAX];",
        "    const char *bucket_le[SW_METRIC_BUCKETS_MAX];",
        "};",
        "",
        "/* Index with any enum sw_metric. */",
        "extern const struct sw_metric_info sw_metric_table[SW_METRIC_COUNT];",
        "",
        "#endif",
        "",
    ]
    return "\n".join(lines)


def source(rows):
    lines = [
        "/* Generated from spec/metrics.toml; do not edit. */",
        '#include "spec/metrics.h"',
        "",
        "const struct sw_metric_info sw_metric_table[SW_METRIC_COUNT] = {",
    ]
    for r in rows:
        lines += [
            f"    [{constant(r)}] = {{",
            f"        .name = \"{r['name']}\",",
            f"        .help = \"{r['help']}\",",
            f"        .type = SW_METRIC_{r['type'].upper()},",
        ]
        if r["sampled"]:
            lines.append("        .sampled = true,")
        if r["labels"]:
            labels = ", ".join(f'"{x}"' for x in r["labels"])
            lines.append(f"        .label_count = {len(r['labels'])}, .labels = {{{labels}}},")
        if r["bounds"]:
            ns = ", ".join(str(int(b * 10**9)) for b in r["bounds"])
            le = ", ".join(f'"{seconds(b)}"' for b in r["bounds"])
            lines += [
                f"        .bucket_count = {len(r['bounds'])},",
                f"        .bucket_ns = {{{ns}}},",
                f"        .bucket_le = {{{le}}},",
            ]
        lines.append("    },")
    lines += ["};", ""]
    return "\n".join(lines)


def doc(rows):
    lines = [
        "# Metrics",
        "",
        "Generated from `spec/metrics.toml`. `GET /metrics` answers in the Prometheus text format 0.0.4. A family shows",
        "up as soon as it has a value; it holds at most 4096 series, further ones are merged into one whose labels all",
        'read `overflow`.',
        "",
        "| metric | type | labels | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for r in rows:
        labels = ", ".join(f"`{x}`" for x in r["labels"])
        lines.append(f"| `{r['name']}` | {r['type']} | {labels} | {r['help']} |")
    lines += ["", "Upper bounds of the buckets, in seconds:", ""]
    for r in rows:
        if r["bounds"]:
            lines.append(f"- `{r['name']}`: {', '.join(seconds(b) for b in r['bounds'])}")
    return "\n".join(lines) + "\n"


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in ("header", "source", "doc", "check"):
        sys.exit(__doc__)
    kind, spec, output = sys.argv[1:]
    rows = load(spec)
    if kind == "check":
        with open(output, encoding="utf-8") as f:
            if f.read() != doc(rows):
                sys.exit(f"{output} is stale: run tools/spec/metrics.py doc {spec} {output}")
        return
    text = {"header": header, "source": source, "doc": doc}[kind](rows)
    with open(output, "w", encoding="utf-8") as f:
        f.write(text)


if __name__ == "__main__":
    main()
