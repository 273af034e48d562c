#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Finds the Debian/Ubuntu packages that Weft needs, and those given as arguments, and installs the missing ones when
# it can (as root, or with sudo that asks no password); otherwise prints the one line to run and fails.
set -u
packages="gcc make binutils libc6-dev pkg-config libflint-dev libyaml-dev libxxhash-dev libcriterion-dev libsodium-dev
          libjansson-dev libpng-dev libjpeg-dev $*"

command -v dpkg-query >/dev/null 2>&1 || {
    echo "packages: this is no Debian or Ubuntu; Weft needs: $(echo $packages)" >&2
    exit 0
}
missing=""
for p in $packages; do
    case "$(dpkg-query -W -f '${Status}' "$p" 2>/dev/null)" in
    *" installed") ;;
    *) missing="$missing $p" ;;
    esac
done
[ -z "$missing" ] && exit 0

run=""
if [ "$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        run="sudo -n"
    else
        echo "packages: missing; run:  sudo apt-get install$missing" >&2
        exit 1
    fi
fi
echo "packages: installing$missing"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if ! $run apt-get install -y --no-install-recommends $missing >"$log" 2>&1; then
    # a fresh machine has no package lists yet
    if ! { $run apt-get update && $run apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
        tail -n 5 "$log" >&2
        rm -f "$log"
        echo "packages: could not install; run:  apt-get update && apt-get install$missing" >&2
        exit 1
    fi
fi
rm -f "$log"
