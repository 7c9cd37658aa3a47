#!/usr/bin/env python3
"""src/store/migrations/NNNN_name[.sqlite|.postgresql].sql -> the C table of migrations, with the SHA-256 of each text.

Usage: migrations.py FOLDER OUTPUT DEPFILE

Numbers are four digits, each used once; a name without a database in it serves both. In those, COLLATE "C" stands for
the order of bytes: PostgreSQL needs to be told, SQLite has no other and is spared the words. The depfile names the
folder too, so that the build notices a file that is added.
"""
import hashlib
import re
import sys
from pathlib import Path

NAME = re.compile(r"(\d{4})_([a-z0-9_]+)(?:\.(sqlite|postgresql))?\.sql")
DIALECTS = ("sqlite", "postgresql")


def load(folder):
    """[(number, name, {dialect: path})] in order; ends the program when the files do not fit together."""
    found = {}
    for path in sorted(folder.glob("*.sql")):
        match = NAME.fullmatch(path.name)
        if not match:
            sys.exit(f"{path}: must be called NNNN_name.sql, NNNN_name.sqlite.sql or NNNN_name.postgresql.sql")
        number, name, dialect = int(match[1]), match[2], match[3]
        texts = found.setdefault(number, (name, {}))
        if texts[0] != name:
            sys.exit(f"{path}: number {number:04} is also that of {texts[0]}")
        for each in [dialect] if dialect else DIALECTS:
            if each in texts[1]:
                sys.exit(f"{path}: there is another file for {each}")
            texts[1][each] = path
    for number, (name, paths) in found.items():
        for dialect in DIALECTS:
            if dialect not in paths:
                sys.exit(f"{folder}: {number:04}_{name} has no text for {dialect}")
    return [(number, *found[number]) for number in sorted(found)]


def literal(text):
    """C string literal, one line of text a line of C."""
    escaped = [line.replace("\\", "\\\\").replace('"', '\\"').replace("?", "\\?") for line in text.splitlines()]
    return "\n".join(f'        "{line}\\n"' for line in escaped) or '        ""'


def source(migrations):
    lines = ["/* Generated from src/store/migrations; do not edit. */", '#include "store/migrations_internal.h"', "",
             "const struct sw_migration sw_migrations[] = {"]
    for number, name, paths in migrations:
        lines.append(f'    {{.number = {number}, .name = "{name}", .text = {{')
        for dialect in DIALECTS:
            text = paths[dialect].read_text(encoding="utf-8")
            if dialect == "sqlite":
                text = text.replace(' COLLATE "C"', "")
            digest = hashlib.sha256(text.encode()).hexdigest()
            lines.append(f'        [SW_STORE_{dialect.upper()}] = {{"{digest}",\n{literal(text)}}},')
        lines.append("    }},")
    lines += ["};", f"const size_t sw_migration_count = {len(migrations)};", ""]
    return "\n".join(lines)


def main():
    folder, output, depfile = (Path(argument) for argument in sys.argv[1:4])
    migrations = load(folder)
    output.write_text(source(migrations), encoding="utf-8")
    paths = [folder, *sorted({path for _, _, paths in migrations for path in paths.values()})]
    depfile.write_text(f"{output.name}: {' '.join(map(str, paths))}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
