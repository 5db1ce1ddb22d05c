#!/bin/sh
# Installs oca, steering and fill as hardened systemd services: `sudo make install`, or
# `sudo sh deploy/install.sh`. Nothing is started; a second run upgrades.
#
# Rule: code in PREFIX (/opt/oca-cdn), units in /usr/local/lib/systemd/system, users through
# sysusers.d, samples in /etc. What stands in /etc is the operator's and is never overwritten.
#
#   PREFIX=/opt/oca-cdn   where the virtual environment is made
#   DESTDIR=              put everything below this folder instead (packages, tests)
#   PYTHON=…              which Python; by default the system's, for service users must reach it
#   PARTS="code units"    `units` alone leaves the virtual environment as it is
set -eu

PREFIX="${PREFIX:-/opt/oca-cdn}"
DESTDIR="${DESTDIR:-}"
PARTS="${PARTS:-code units}"
ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
UNITS=/usr/local/lib/systemd/system
REAL_PATH='import os, sys; assert sys.version_info >= (3, 11); print(os.path.realpath(sys.executable))'
umask 022

say() { printf '  install: %s\n' "$*"; }

fail() {
    printf 'install: %s\n' "$*" >&2
    exit 1
}

# A Python that the units can see: not in a home folder, which they are not shown.
find_python() {
    for python in ${PYTHON:-/usr/bin/python3 /usr/local/bin/python3 python3}; do
        found=$("$python" -c "$REAL_PATH" 2>/dev/null) || continue
        case "$found" in
            "" | /root/* | /home/*) ;;
            *)
                "$python" -c 'import ensurepip, venv' 2>/dev/null ||
                    fail "$python has no venv; please run: apt-get install python3-venv"
                echo "$python"
                return
                ;;
        esac
    done
    fail "Python 3.11 or newer is needed outside of home folders: apt-get install python3-venv"
}

install_code() {
    venv="$DESTDIR$PREFIX"
    python=$(find_python)
    say "the programs in $venv ($("$python" -V))"
    [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
    rm -rf "$ROOT/build" # what an older build left there would be installed, too
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade "$ROOT[fill]"
    rm -rf "$ROOT/build"
    if [ -n "$DESTDIR" ]; then # scripts name the place where they will stand
        grep -lI "^#!$venv" "$venv"/bin/* | xargs -r sed -i "1s|$venv|$PREFIX|"
    fi
    mkdir -p "$DESTDIR/usr/local/bin"
    for name in oca steering fill; do
        ln -sfn "$PREFIX/bin/$name" "$DESTDIR/usr/local/bin/$name"
    done
}

# The sockets of oca: one per worker, so one per core.
one_socket_per_core() {
    folder="$DESTDIR$UNITS/oca.socket.d"
    mkdir -p "$folder"
    {
        echo "# Written by deploy/install.sh: one socket per core. Your own: systemctl edit oca.socket"
        echo "[Socket]"
        i=1
        while [ "$i" -lt "$(nproc)" ]; do
            echo "ListenStream=8080"
            i=$((i + 1))
        done
    } >"$folder/workers.conf"
}

install_units() {
    say "units in $DESTDIR$UNITS"
    mkdir -p "$DESTDIR$UNITS" "$DESTDIR/usr/local/lib/sysusers.d" "$DESTDIR$PREFIX/share"
    for unit in "$ROOT"/deploy/systemd/*.service "$ROOT"/deploy/systemd/*.socket \
        "$ROOT"/deploy/systemd/*.timer; do
        sed "s|/opt/oca-cdn|$PREFIX|g" "$unit" >"$DESTDIR$UNITS/${unit##*/}"
    done
    one_socket_per_core
    cp "$ROOT/deploy/systemd/oca-cdn.sysusers" "$DESTDIR/usr/local/lib/sysusers.d/oca-cdn.conf"
    cp -r "$ROOT"/docs/*.md "$ROOT/deploy/bgp" "$ROOT/deploy/monitoring" "$DESTDIR$PREFIX/share/"
}

make_users() {
    if [ -n "$DESTDIR" ]; then return; fi
    if command -v systemd-sysusers >/dev/null 2>&1; then
        systemd-sysusers /usr/local/lib/sysusers.d/oca-cdn.conf
    else
        for name in oca steering fill; do
            id "$name" >/dev/null 2>&1 || useradd --system --home-dir "/var/lib/$name" "$name"
        done
    fi
}

# sample FILE USER: readable by USER, writable by root, left alone when it is there.
sample() {
    target="$DESTDIR/etc/$1"
    if [ ! -e "$target" ]; then
        say "a sample in $target"
        cp "$ROOT/deploy/etc/${3:-$1}" "$target"
        chmod 640 "$target"
        if [ -z "$DESTDIR" ]; then chgrp "$2" "$target"; fi
    fi
}

install_samples() {
    for name in oca steering fill; do
        mkdir -p "$DESTDIR/etc/$name"
        chmod 750 "$DESTDIR/etc/$name"
        if [ -z "$DESTDIR" ]; then chgrp "$name" "/etc/$name"; fi
    done
    sample oca/appliance.toml oca
    sample steering/steering.toml steering
    sample steering/fleet.toml steering fleet.toml
    sample fill/fill.toml fill
    sample fill/fleet.toml fill fleet.toml
    mkdir -p "$DESTDIR/srv/oca"
    if [ -z "$DESTDIR" ]; then chown oca:oca /srv/oca; fi
}

if [ -z "$DESTDIR" ] && [ "$(id -u)" != 0 ]; then
    echo "install: users and units need root: sudo make install (or DESTDIR=… for a package)" >&2
    exit 1
fi
for part in $PARTS; do
    case "$part" in
        code) install_code ;;
        units)
            install_units
            make_users
            install_samples
            ;;
        *)
            echo "install: PARTS knows code and units, not $part" >&2
            exit 2
            ;;
    esac
done
if [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
say "done; an appliance: edit /etc/oca/appliance.toml, then systemctl enable --now oca.socket oca"
