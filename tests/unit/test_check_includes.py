#!/usr/bin/env python3
"""tools/check_includes.py finds each kind of fault when it is planted, names its line, and is quiet without.

Usage: test_check_includes.py COMPILER
"""
import pathlib
import subprocess
import sys
import tempfile

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools" / "check_includes.py"

CLEAN = {
    "src/base/str.h": "#include <stddef.h>\nstruct sw_str { size_t len; };\n",
    "src/base/base_internal.h": "extern int x;\n",
    "src/base/str.c": '#include "base/str.h"\n#include "base/base_internal.h"\n#include "spec/errors.h"\n',
    "src/tensor/tensor.h": '#include "base/str.h"\nvoid f(struct sw_str s);\n',
    "src/engine/ort/run.c": '#include "tensor/tensor.h"\n',
    "src/http/http.h": '#include "base/str.h"\nint sw_http(struct sw_str path);\n',
    "apps/one/one.h": '#include "tensor/tensor.h"\nint sw_one(void);\n',
    "apps/one/one.c": '#include "apps/one/one.h"\n#include "apps/one/deep/part_internal.h"\n',
    "apps/one/deep/part_internal.h": "extern int part;\n",
    "src/cli/apps.c": '#include "apps/one/one.h"\n',
    "src/cli/main.c": '#include "http/http.h"\n// #include "gone.h"\n/*\n#include "../gone.h"\n*/\n'
                      'const char *url = "http://x"; /* "\n#include "gone.h" */\n',
}

# Files to add or replace, then the line expected.
FAULTS = [
    ({"src/base/str.c": '#include "base/str.h"\n\n#  include "tensor/tensor.h"\n'},
     'src/base/str.c:3: base may not include "tensor/tensor.h": tensor stands above it'),
    ({"src/tensor/t.c": '#include "http/http.h"\n'}, 'src/tensor/t.c:1: tensor may not include "http/http.h"'),
    ({"src/tensor/t.h": '#include "base/base_internal.h"\n'},
     'src/tensor/t.h:1: "base/base_internal.h" is internal to base'),
    ({"src/base/str.c": '/* long\n comment */ int x;\n#include "str.h"\n'}, 'src/base/str.c:3: "str.h" is no file of src'),
    ({"src/base/str.c": '#include "../base/str.h"\n'}, 'src/base/str.c:1: "../base/str.h" is not written from src'),
    ({"src/tensor/t.c": '#include "base/gone.h"\n'}, 'src/tensor/t.c:1: "base/gone.h" is no file of src'),
    ({"src/fancy/x.c": "int x;\n"}, "src/fancy/x.c:1: folder fancy has no place in the order"),
    ({"apps/two/two.c": '#include "apps/one/one.h"\n'},
     'apps/two/two.c:1: two may not include "apps/one/one.h": applications do not use each other'),
    ({"apps/two/two.c": '#include "apps/two/gone.h"\n'}, 'apps/two/two.c:1: "apps/two/gone.h" is no file of src'),
    ({"src/http/http.c": '#include "apps/one/one.h"\n'},
     'src/http/http.c:1: http may not include "apps/one/one.h": apps stands above it'),
    ({"src/cli/apps.c": '#include "apps/one/deep/part_internal.h"\n'},
     'src/cli/apps.c:1: "apps/one/deep/part_internal.h" is internal to apps'),
    ({"src/tensor/alone.h": "struct sw_x { size_t n; };\n"}, "src/tensor/alone.h:1: does not compile alone"),
]


def run(files, compiler):
    with tempfile.TemporaryDirectory() as root:
        for name, text in files.items():
            path = pathlib.Path(root, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        done = subprocess.run([sys.executable, TOOL, root, "--compile", compiler, f"-I{root}/src", f"-I{root}"],
                              capture_output=True, text=True, check=False)
        return done.returncode, done.stdout


def main():
    compiler = sys.argv[1]
    status, out = run(CLEAN, compiler)
    assert status == 0, f"a clean tree is refused: {out}"
    for files, expected in FAULTS:
        status, out = run({**CLEAN, **files}, compiler)
        lines = out.splitlines()
        assert status == 1 and len(lines) == 1 and lines[0].startswith(expected), f"expected {expected}\ngot {out}"
    status, out = run({"README": ""}, compiler)
    assert status == 1, "an empty tree is accepted"
    print(f"{len(FAULTS)} planted faults found")


if __name__ == "__main__":
    main()
