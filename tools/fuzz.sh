#!/bin/bash
# Runs every libFuzzer target of a build folder for FUZZ_SECONDS each, one after the other: tools/fuzz.sh BUILD [TARGET...]
#
# The corpus grows in BUILD/corpus/TARGET, begins with tests/fuzz/seeds/TARGET where there is one, and is kept between runs.
# A crash leaves its input in BUILD/crashes. Exit code 0 nothing found, 1 a target failed.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 3

build=${1:?usage: tools/fuzz.sh BUILD [TARGET...]}
shift
seconds=${FUZZ_SECONDS:-30}
targets=("$@")
if ((${#targets[@]} == 0)); then
    mapfile -t targets < <(find "$build/tests/fuzz" -maxdepth 1 -type f -name 'fuzz_*' -executable -printf '%f\n' | sort)
fi
((${#targets[@]})) || { echo "fuzz: $build/tests/fuzz has no targets" >&2; exit 3; }
mkdir -p "$build/crashes"
failed=()
for target in "${targets[@]}"; do
    folders=("$build/corpus/$target")
    mkdir -p "${folders[0]}"
    [[ -d tests/fuzz/seeds/$target ]] && folders+=("tests/fuzz/seeds/$target")
    echo "fuzz: $target for $seconds s"
    log=$build/crashes/$target.log
    if "$build/tests/fuzz/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$build/crashes/$target-" "${folders[@]}" >"$log" 2>&1; then
        grep -E 'stat::number_of_executed_units|stat::average_exec_per_sec' "$log" | sed 's/^stat::/  /'
    else
        tail -n 60 "$log"
        failed+=("$target")
    fi
done
if ((${#failed[@]})); then
    echo "fuzz: FAILED: ${failed[*]}; the inputs are in $build/crashes"
    exit 1
fi
echo "fuzz: ${#targets[@]} targets, nothing found"
