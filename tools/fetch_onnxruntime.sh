#!/bin/bash
# Puts ONNX Runtime at third_party/onnxruntime/libonnxruntime.so, from the first source that has it:
#
#   1. a library of the system, version 1.20 or later: $SLIPWAY_ORT_LIB (then no other is tried), what pkg-config knows
#      as libonnxruntime, or one below /usr/lib or /usr/local/lib; it is linked, not copied
#   2. the Python wheel onnxruntime, through `pip download`
#   3. the npm package onnxruntime-node, through `npm pack`
#
# Downloads are checked against the SHA-256 in onnxruntime.pins before anything is taken out of them, and lie below
# third_party/.cache while this runs. third_party/onnxruntime/STAMP records version, source and SHA-256 of the library:
# while it fits, nothing is looked for or downloaded. pip and npm are installed through apt when they are missing and
# their turn comes.
#
#   tools/fetch_onnxruntime.sh [--target DIR] [--pins FILE] [--no-system]
#
# Exit code 0 done, 2 wrong usage, 3 no source gave it.
set -euo pipefail

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
third_party=$(dirname "$tools")/third_party
pins=$tools/onnxruntime.pins
python=${PYTHON:-/usr/bin/python3}
system=yes
while (($#)); do
    case $1 in
    --target) third_party=${2:?} && shift 2 ;;
    --pins) pins=${2:?} && shift 2 ;;
    --no-system) system=no && shift ;;
    *) echo "usage: $0 [--target DIR] [--pins FILE] [--no-system]" >&2 && exit 2 ;;
    esac
done
mkdir -p "$third_party"
third_party=$(cd "$third_party" && pwd)
target=$third_party/onnxruntime
library=$target/libonnxruntime.so
stamp=$target/STAMP
cache=$third_party/.cache

say() { echo "onnxruntime: $*"; }
pin() { sed -n "s/^$1  *//p" "$pins"; }

# Each source that fails says why here; shown when none is left.
failures=()
failed() {
    failures+=("$1")
    say "$1"
    return 1
}

version=$(pin version)
minimum=$(pin minimum)

at_least() { # version minimum
    [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]
}

library_version() { # path; its version, or the reason it has none, on standard output
    timeout 30 "$python" "$tools/ort_version.py" "$1" 2>&1
}

write_stamp() { # version source
    printf 'version %s\nsource %s\nsha256 %s\n' "$1" "$2" "$(sha256sum <"$library" | cut -d ' ' -f 1)" >"$stamp.new"
    mv "$stamp.new" "$stamp"
}

stamp_fits() {
    [[ -r $stamp && -r $library ]] || return 1
    local source sha
    source=$(sed -n 's/^source //p' "$stamp")
    sha=$(sed -n 's/^sha256 //p' "$stamp")
    if [[ -n ${SLIPWAY_ORT_LIB:-} ]]; then
        [[ $source == "$SLIPWAY_ORT_LIB" ]] || return 1
    elif [[ $source != /* ]]; then
        [[ $(sed -n 's/^version //p' "$stamp") == "$version" ]] || return 1
    fi
    [[ $(sha256sum <"$library" | cut -d ' ' -f 1) == "$sha" ]]
}

# ---- sources

link_system() { # path
    local found
    [[ -r $1 ]] || { failed "$1: not there"; return 1; }
    found=$(library_version "$1") || { failed "$1: $found"; return 1; }
    at_least "$found" "$minimum" || { failed "$1: version $found, at least $minimum is needed"; return 1; }
    # (Sources are called in conditions, where `set -e` does not act: hence the chains.)
    if ! { mkdir -p "$target" && ln -sfn "$1" "$library.new" && mv -T "$library.new" "$library" &&
        write_stamp "$found" "$1"; }; then
        failed "$1: cannot be linked at $library"
        return 1
    fi
    say "$found of the system: $1"
}

from_system() {
    local candidates=() folder path
    if folder=$(pkg-config --variable=libdir libonnxruntime 2>/dev/null) && [[ -n $folder ]]; then
        candidates+=("$folder/libonnxruntime.so")
    fi
    for path in /usr/lib/*/libonnxruntime.so /usr/lib/libonnxruntime.so /usr/local/lib/libonnxruntime.so \
        /usr/lib/*/libonnxruntime.so.1.* /usr/lib/libonnxruntime.so.1.* /usr/local/lib/libonnxruntime.so.1.*; do
        [[ -e $path ]] && candidates+=("$path")
    done
    for path in ${candidates[@]+"${candidates[@]}"}; do
        link_system "$path" && return 0
    done
    ((${#candidates[@]})) || failed "system: pkg-config, /usr/lib and /usr/local/lib have no libonnxruntime"
    return 1
}

checked() { # file sha256 source
    local got
    got=$(sha256sum <"$1" | cut -d ' ' -f 1)
    [[ $got == "$2" ]] && return 0
    rm -f "$1"
    {
        echo "onnxruntime: !!! CHECKSUM MISMATCH: what $3 delivered is not the file that was pinned. It was deleted."
        echo "onnxruntime: !!! expected $2"
        echo "onnxruntime: !!! got      $got"
    } >&2
    failed "$3: checksum mismatch (expected $2, got $got)"
}

take() { # file source: moves a library out of the cache into its place
    local found
    found=$(library_version "$1") || { failed "$2: the library does not load: $found"; return 1; }
    [[ $found == "$version" ]] || { failed "$2: the library says version $found, expected $version"; return 1; }
    if ! { mkdir -p "$target" && chmod 755 "$1" && touch "$1" && mv -fT "$1" "$library" &&
        write_stamp "$version" "$2"; }; then
        failed "$2: cannot be put at $library"
        return 1
    fi
    say "$version from $2"
}

last_lines() { # file: the end of a tool's output on one line
    grep -v '^ *$' "$1" | tail -n 3 | tr '\n' ' ' | cut -c 1-400
}

from_wheel() {
    local pip=() sha folder=$cache/wheel wheel
    sha=$(pin "wheel-$(uname -m)")
    [[ -n $sha ]] || { failed "wheel: none is pinned for $(uname -m)"; return 1; }
    if command -v pip3 >/dev/null; then
        pip=(pip3)
    elif command -v pip >/dev/null; then
        pip=(pip)
    elif "$tools/setup.sh" --install python3-pip; then
        pip=("$python" -m pip)
    else
        failed "wheel: pip is missing and could not be installed"
        return 1
    fi
    mkdir -p "$folder"
    say "downloading the wheel onnxruntime $version (pip download)"
    if ! timeout 900 "${pip[@]}" download --no-deps --only-binary :all: --python-version 3.11 \
        --platform "manylinux_2_28_$(uname -m)" --no-cache-dir --retries 1 --timeout 30 --dest "$folder" \
        "onnxruntime==$version" >"$cache/pip.log" 2>&1; then
        failed "wheel: pip download failed: $(last_lines "$cache/pip.log")"
        return 1
    fi
    wheel=$(find "$folder" -name '*.whl' | head -n 1)
    [[ -n $wheel ]] || { failed "wheel: pip download left no wheel"; return 1; }
    checked "$wheel" "$sha" "wheel" || return 1
    "$python" -m zipfile -e "$wheel" "$folder/out" || { failed "wheel: cannot be unpacked"; return 1; }
    take_found wheel "$folder/out/onnxruntime/capi" 'libonnxruntime.so.[0-9]*'
}

from_npm() {
    local sha folder=$cache/npm cpu archive member
    sha=$(pin npm)
    case $(uname -m) in
    x86_64) cpu=x64 ;;
    aarch64) cpu=arm64 ;;
    *) failed "npm: no library for $(uname -m)" && return 1 ;;
    esac
    if ! command -v npm >/dev/null && ! "$tools/setup.sh" --install npm; then
        failed "npm: npm is missing and could not be installed"
        return 1
    fi
    mkdir -p "$folder"
    say "downloading the npm package onnxruntime-node $version, 113 MB (npm pack)"
    if ! (cd "$folder" && timeout 900 npm pack "onnxruntime-node@$version" --ignore-scripts --cache "$cache/npm-cache" \
        --fetch-retries 1 --loglevel error) >"$cache/npm.log" 2>&1 </dev/null; then
        failed "npm: npm pack failed: $(last_lines "$cache/npm.log")"
        return 1
    fi
    archive=$(find "$folder" -name '*.tgz' | head -n 1)
    [[ -n $archive ]] || { failed "npm: npm pack left no archive"; return 1; }
    checked "$archive" "$sha" "npm" || return 1
    member=package/bin/napi-v6/linux/$cpu/libonnxruntime.so.1
    tar -xzf "$archive" -C "$folder" "$member" || { failed "npm: $member cannot be unpacked"; return 1; }
    take_found npm "$folder/$(dirname "$member")" 'libonnxruntime.so.1'
}

take_found() { # source folder pattern
    local found
    found=$(find "$2" -type f -name "$3" 2>/dev/null | head -n 1)
    [[ -n $found ]] || { failed "$1: the package holds no $3"; return 1; }
    take "$found" "$1"
}

# ---- one after the other

exec 9>"$third_party/.lock"
flock 9
if stamp_fits; then
    say "$(sed -n 's/^version //p' "$stamp") is in place (from $(sed -n 's/^source //p' "$stamp"))"
    exit 0
fi
trap 'rm -rf "$cache"' EXIT
rm -rf "$cache"
mkdir -p "$cache"

if [[ -n ${SLIPWAY_ORT_LIB:-} ]]; then
    if link_system "$SLIPWAY_ORT_LIB"; then
        exit 0
    fi
    echo "onnxruntime: SLIPWAY_ORT_LIB names a library that cannot be used; correct it, or unset it to have one fetched" >&2
    exit 3
fi
if [[ $system == yes ]] && from_system; then
    exit 0
fi
if from_wheel || from_npm; then
    exit 0
fi

{
    echo
    echo "onnxruntime: ONNX Runtime could not be had from any source:"
    printf '  - %s\n' "${failures[@]}"
    echo "What to do, one of:"
    echo "  - let this machine reach a Python or an npm registry (or a mirror: pip and npm use their own configuration),"
    echo "    then run 'make setup' again"
    echo "  - bring the library yourself: take libonnxruntime.so, version $minimum or later for $(uname -m), from a wheel"
    echo "    of onnxruntime on another machine, and run 'SLIPWAY_ORT_LIB=/path/to/libonnxruntime.so make setup'"
} >&2
exit 3
