#!/usr/bin/env python3
"""Checks the direction of includes in src and apps.

Usage: check_includes.py [ROOT] [--compile COMPILER FLAG...]

  - A folder of src includes only itself, folders before it in the order below, and spec/ (generated).
  - *_internal.h is included only from its own folder.
  - Includes are written from src ("base/str.h"), those of apps from the root ("apps/starlight/image.h"); they name a file
    that exists, and never climb ("..").
  - An application includes nothing of another one and nothing of cli.
  - With --compile, each header of src and apps compiles alone with this compiler and these flags.

Writes FILE:LINE: reason for each fault; exit 1 when there is one.
"""
import concurrent.futures
import pathlib
import re
import subprocess
import sys

# Dependencies point to the left. As in the design, but registry stands after pipeline, whose bundles and models its gates
# use, and stats, which is pure functions, after base.
ORDER = ["base", "stats", "tensor", "engine", "graph", "store", "artifact", "sched", "pipeline", "registry", "rollout",
         "observe", "auth", "http", "api", "load", "search", "learn", "train", "apps", "cli"]
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]*)"')
COMMENT_OR_STRING = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.S)


def blank_comments(text):
    """The text with comments turned into blanks, line breaks kept."""
    def blank(match):
        found = match.group(0)
        return found if found[0] in "\"'" else re.sub(r"[^\n]", " ", found)
    return COMMENT_OR_STRING.sub(blank, text)


def includes(path):
    text = blank_comments(path.read_text(encoding="utf-8"))
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(1)


def from_src(root, path):
    """The path as includes write it: src/base/str.h is base/str.h, apps/x/y.h stays."""
    inner = path.relative_to(root)
    return inner if inner.parts[0] == "apps" else inner.relative_to("src")


def fault(root, path, target):
    """Why `path` (in src or apps) may not include `target`, or None."""
    own = from_src(root, path).parts
    folder = own[0]
    parts = target.split("/")
    if ".." in parts or "." in parts or target.startswith("/"):
        return f'"{target}" is not written from src'
    if parts[0] == "spec":
        return None
    if len(parts) < 2 or not ((root if parts[0] == "apps" else root / "src") / target).is_file():
        return f'"{target}" is no file of src; includes are written from src'
    if parts[0] not in ORDER:
        return f'folder {parts[0]} has no place in the order of tools/check_includes.py'
    if parts[0] != folder and ORDER.index(parts[0]) > ORDER.index(folder):
        return f'{folder} may not include "{target}": {parts[0]} stands above it'
    if parts[0] == folder == "apps" and parts[1] != own[1]:
        return f'{own[1]} may not include "{target}": applications do not use each other'
    if parts[0] != folder and target.endswith("_internal.h"):
        return f'"{target}" is internal to {parts[0]}'
    return None


def check_directions(root):
    faults = []
    files = sorted(p for top in ("src", "apps") for p in (root / top).rglob("*")
                   if p.suffix in (".c", ".h") and p.is_file())
    for path in files:
        folder = from_src(root, path).parts[0]
        if folder not in ORDER:
            faults.append(f"{path.relative_to(root)}:1: folder {folder} has no place in the order")
            continue
        for number, target in includes(path):
            why = fault(root, path, target)
            if why:
                faults.append(f"{path.relative_to(root)}:{number}: {why}")
    return files, faults


def compile_alone(root, path, command):
    source = f'#include "{from_src(root, path)}"\n'
    run = subprocess.run([*command, "-fsyntax-only", "-x", "c", "-"], input=source, capture_output=True, text=True,
                         check=False)
    if run.returncode == 0:
        return None
    first = next((x for x in run.stderr.splitlines() if "error" in x), run.stderr.strip())
    return f"{path.relative_to(root)}:1: does not compile alone: {first}"


def main(arguments):
    command = []
    if "--compile" in arguments:
        at = arguments.index("--compile")
        arguments, command = arguments[:at], arguments[at + 1:]
        if not command:
            sys.exit(__doc__)
    if len(arguments) > 1 or (arguments and arguments[0].startswith("-")):
        sys.exit(__doc__)
    root = pathlib.Path(arguments[0]) if arguments else pathlib.Path(__file__).resolve().parent.parent
    root = root.resolve()
    files, faults = check_directions(root)
    if not files:
        faults.append(f"{root}: no C files under src")
    if command:
        headers = [p for p in files if p.suffix == ".h"]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            faults += filter(None, pool.map(lambda p: compile_alone(root, p, command), headers))
    for line in faults:
        print(line)
    if not faults:
        print(f"{len(files)} files: includes point downwards")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
