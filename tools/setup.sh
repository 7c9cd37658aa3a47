#!/bin/bash
# Sets up a Debian 12 machine to build, test and run Slipway: apt packages (those of packages.txt that are missing), then
# ONNX Runtime into third_party/ (fetch_onnxruntime.sh). Needs root or sudo only when a package is missing; installs
# nothing outside this repository but apt packages; a second run downloads nothing.
#
#   tools/setup.sh [TIER...]             tiers: build test lint bench; without any: build test
#   tools/setup.sh --install PACKAGE...  only these packages
#
# Exit code 0 done, 2 wrong usage, 3 could not be carried out.
set -euo pipefail

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export DEBIAN_FRONTEND=noninteractive

say() { echo "setup: $*"; }
fail() {
    echo "setup: $*" >&2
    exit 3
}

packages_of() { # tier...
    local tier
    for tier in "$@"; do
        grep -q "^$tier " "$tools/packages.txt" || { echo "setup: no tier $tier in packages.txt" >&2; exit 2; }
        sed -n "s/^$tier  *//p" "$tools/packages.txt"
    done | sort -u
}

missing_of() { # package...
    local installed package
    installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null | sed -n 's/ installed$//p' || true)
    for package in "$@"; do
        grep -qx "$package" <<<"$installed" || echo "$package"
    done
}

as_root() {
    if [[ $(id -u) == 0 ]]; then
        "$@"
    elif [[ -t 0 ]]; then
        sudo DEBIAN_FRONTEND=noninteractive "$@"
    else
        sudo -n DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

# Debian's PostgreSQL makes a cluster and starts it when it is installed. The tests make clusters of their own, and what
# runs on this machine is not ours to decide; clusters that are there stay as they are.
no_cluster=/etc/postgresql-common/createcluster.d/slipway-setup.conf
install_without_cluster() { # package...
    grep -q '^postgresql' <<<"$(printf '%s\n' "$@")" || return 0
    say "PostgreSQL is installed without a cluster and starts nothing; the tests start their own"
    trap 'as_root rm -f "$no_cluster"' EXIT
    as_root install -D -m 644 /dev/stdin "$no_cluster" <<<'create_main_cluster = false' ||
        fail "cannot write $no_cluster"
}

install_packages() { # package...
    local missing
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        say "this is not Debian: make sure that your system has what these packages give: $*"
        return 0
    fi
    mapfile -t missing < <(missing_of "$@")
    if ((${#missing[@]} == 0)); then
        say "all $# packages are installed"
        return 0
    fi
    say "installing ${#missing[@]} of $# packages: ${missing[*]}"
    if [[ $(id -u) != 0 ]] && ! command -v sudo >/dev/null; then
        fail "not root, and there is no sudo. Run as root: apt-get install --no-install-recommends ${missing[*]}"
    fi
    as_root apt-get -q -o DPkg::Lock::Timeout=300 update ||
        say "apt-get update failed; going on with the package lists that are here"
    install_without_cluster "${missing[@]}"
    as_root apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install --no-install-recommends \
        "${missing[@]}" </dev/null ||
        fail "apt-get could not install: ${missing[*]} (its messages stand above). If it was a password, a lock or the" \
            "network, mend that and run 'make setup' again."
}

check_python() {
    local python=${PYTHON:-/usr/bin/python3}
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        fail "$python is not Python 3.11 or later; name one with PYTHON=..."
}

if [[ ${1:-} == --install ]]; then
    shift
    (($#)) || { echo "usage: $0 --install PACKAGE..." >&2; exit 2; }
    install_packages "$@"
    exit 0
fi
if [[ ${1:-} == -* ]]; then
    echo "usage: $0 [build|test|lint|bench]... | --install PACKAGE..." >&2
    exit 2
fi
tiers=("$@")
((${#tiers[@]})) || tiers=(build test)
wanted=$(packages_of "${tiers[@]}")
mapfile -t wanted <<<"$wanted"
say "tiers: ${tiers[*]}"
install_packages "${wanted[@]}"
check_python
"$tools/fetch_onnxruntime.sh"
