#!/usr/bin/env bash
# Sets up all that khw needs on Debian 12+ or Ubuntu 22.04+: system packages and the virtual environment.
# Says clearly what is missing elsewhere. Run again and again: what is there is left as it is.
# With `tests`, also a browser: tests/lab opens the report in it (a run needs none). With `vms` or `arm64`, also qemu.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
    python3-venv                                  # the virtual environment
    podman runc conmon                            # the lab's machines
    mmdebstrap debian-archive-keyring             # their image
    haproxy iproute2 iptables nftables kmod procps # their network
    openssh-client                                # khw ssh, khw lab ssh
    gcc libc6-dev libseccomp-dev pkg-config       # building runc and pause
    zstd ca-certificates
)

# Ubuntu has Chromium as a snap alone: there those tests are skipped, and say so.
if [ "${1:-}" = tests ] && grep -qx 'ID=debian' /etc/os-release 2>/dev/null; then
    packages+=(chromium chromium-driver)
fi

case ${1:-} in
vms) packages+=(qemu-system-x86 qemu-utils e2fsprogs) ;;
arm64)
    packages+=(qemu-system-x86 qemu-utils e2fsprogs qemu-system-arm qemu-user-static arch-test)
    packages+=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross) # building runc and pause; and libseccomp-dev:arm64
    ;;
esac

die() {
    echo "prepare: $1" >&2
    exit 1
}

# The first python3 that is new enough and can make a virtual environment.
find_python() {
    local candidate
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    die "Python 3.11 or newer is needed; on Ubuntu 22.04: apt-get install python3.11 python3.11-venv"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# Where there are foreign architectures, dpkg has a line for each, and another's libseccomp-dev is not this machine's.
missing_packages() {
    local package native
    native=$(dpkg --print-architecture)
    for package in "${packages[@]}"; do
        dpkg-query -W -f='${db:Status-Status} ${Architecture}\n' "$package" 2>/dev/null |
            grep -xE "installed ($native|all)" >/dev/null || echo "$package"
    done
}

install_packages() {
    local missing
    if ! command -v apt-get >/dev/null; then
        die "this is not Debian or Ubuntu; install what these packages hold, then run again: ${packages[*]}"
    fi
    mapfile -t missing < <(missing_packages)
    [ "${#missing[@]}" -eq 0 ] && return
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        die "root or sudo is needed to install: ${missing[*]}"
    fi
    echo "prepare: installing ${missing[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# The environment is made anew when setup.cfg has changed since.
install_environment() {
    local stamp=.venv/.prepared python
    if [ -f "$stamp" ] && [ "$stamp" -nt setup.cfg ]; then return; fi
    python=$(find_python)
    echo "prepare: virtual environment with $("$python" --version)"
    "$python" -m venv .venv || die "$python cannot make a virtual environment: install its -venv package"
    .venv/bin/python -m pip install -q --disable-pip-version-check -e '.[dev,docs]'
    touch "$stamp"
}

# Python keeps what it compiles, unless PYTHONDONTWRITEBYTECODE is set: then each khw would compile all of khw again.
# pip does the same when it installs a package, and not for an editable one.
compile_sources() {
    .venv/bin/python -m compileall -q khw inventory certs tasks
}

install_packages
install_environment
compile_sources
