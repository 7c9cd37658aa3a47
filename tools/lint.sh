#!/bin/bash
# Every check that needs no running program; each runs even when an earlier one failed, and the last line sums up.
#
#   tools/lint.sh             format, clang-tidy, shellcheck, python, generated files, banned words, includes
#   tools/lint.sh CHECK...    only these
#   tools/lint.sh --format    reformat the C sources in place
#
# clang-tidy needs a configured and built $BUILD (build). Exit code 0 clean, 1 findings, 3 a tool is missing.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 3

build=${BUILD:-build}
python=${PYTHON:-/usr/bin/python3}

need() {
    command -v "$1" >/dev/null && return 0
    echo "lint: $1 is missing; run: tools/setup.sh lint" >&2
    exit 3
}

# Tracked files and new ones that git does not ignore.
files() { git ls-files --cached --others --exclude-standard -- "$@" | while read -r f; do [[ -f $f ]] && echo "$f"; done; }
c_sources() { files 'src/*.c' 'src/*.h' 'apps/*.c' 'apps/*.h' 'tests/*.c' 'tests/*.h' 'bench/*.c' 'bench/*.h'; }

# Another version of clang-format would want another layout: Debian 12 has 14.
clang_format() {
    local tool=clang-format
    command -v clang-format-14 >/dev/null && tool=clang-format-14
    need "$tool"
    [[ $("$tool" --version) == *"version 14."* ]] || { echo "lint: clang-format 14 is needed" >&2; exit 3; }
    c_sources | xargs -r "$tool" "$@"
}

check_format() { clang_format --dry-run -Werror; }

check_tidy() {
    need clang-tidy
    [[ -f $build/compile_commands.json ]] || { echo "lint: $build is not configured: run make build" >&2; exit 3; }
    local out
    out=$(files 'src/*.c' 'apps/*.c' | xargs -r -P "$(nproc)" -n 4 clang-tidy -p "$build" --quiet \
        --extra-arg=-include --extra-arg="$PWD/tools/tidy.h" 2>&1)
    local code=$?
    grep -v -e 'warnings\? generated' -e '^Suppressed ' -e '^Use -header-filter' <<<"$out" | grep . || true
    return $code
}

check_shell() {
    need shellcheck
    files '*.sh' '.ci/run' | xargs -r shellcheck
}

check_python() {
    need pyflakes3
    local code=0
    files '*.py' | xargs -r pyflakes3 || code=1
    files '*.py' '*.sh' | xargs -r grep -nE $'[ \t]+$|\t' && code=1
    return $code
}

check_generated() { tools/docs.sh --check; }

# Host names of package registries (pip and npm know theirs) and paths of one person's machine.
check_words() {
    local registries='py''pi\.org|pythonhosted\.org|npm''js\.(org|com)|yarnpkg\.com|git''hubusercontent\.com|deb\.debian\.org'
    local machines='(^|[^A-Za-z0-9_.}/~-])/(home|Users|root|work|mnt|media)/[A-Za-z0-9._-]+'
    ! files . | grep -v -e '^tools/lint\.sh$' -e '\.png$' -e '\.onnx$' -e '^LICENSE$' |
        xargs -r -d '\n' grep -nIE -e "$registries" -e "$machines"
}

check_includes() { "$python" tools/check_includes.py; }

if [[ ${1:-} == --format ]]; then
    clang_format -i
    exit
fi
checks=("$@")
((${#checks[@]})) || checks=(format tidy shell python generated words includes)
failed=()
for check in "${checks[@]}"; do
    declare -F "check_$check" >/dev/null || { echo "lint: no check $check" >&2; exit 2; }
    echo "lint: $check"
    (check_"$check")
    code=$?
    ((code == 3)) && exit 3
    ((code == 0)) || failed+=("$check")
done
if ((${#failed[@]})); then
    echo "lint: FAILED: ${failed[*]}"
    exit 1
fi
echo "lint: ${#checks[@]} checks passed"
