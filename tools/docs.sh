#!/bin/bash
# Writes the pages of docs/reference, and the alert rules for Prometheus, from the tables in spec/: tools/docs.sh [--check].
#
# --check writes nothing and fails when a page is not what the tables say. Exit code 0 done, 1 a page is stale.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-/usr/bin/python3}
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT

page() { # page generator table...
    local page=$1 generator=$2
    shift 2
    "$python" -B "tools/spec/$generator" doc "${@/#/spec/}" "$new/$page"
}

page alerts.md alerts.py alerts.toml
page commands.md commands.py commands.toml config.toml
page config.md config.py config.toml
page errors.md errors.py errors.toml
page http.md routes.py routes.toml schemas.json errors.toml
page metrics.md metrics.py metrics.toml

"$python" -B tools/spec/alerts.py prometheus spec/alerts.toml "$new/rules.yaml"

stale=0
for path in "$new"/*; do
    name=docs/reference/$(basename "$path")
    [[ $path == */rules.yaml ]] && name=deploy/prometheus/rules.yaml
    cmp -s "$path" "$name" && continue
    if [[ ${1:-} == --check ]]; then
        echo "$name is not what spec/ says: run make docs"
        stale=1
    else
        mkdir -p "$(dirname "$name")"
        cp "$path" "$name"
        echo "wrote $name"
    fi
done
exit $stale
