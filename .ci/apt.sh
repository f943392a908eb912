#!/bin/sh
# Installs what the tests need from the system, as root on Debian; elsewhere it says which tests will skip.
# NO_APT=1 installs nothing. Quick when nothing is missing.
set -eu

missing=""
needed_by=""

browser=""
for each in chromium chromium-browser google-chrome; do
    if command -v "$each" >/dev/null 2>&1; then
        browser="$each"
    fi
done
if [ -z "$browser" ]; then
    missing="$missing chromium"
    needed_by="$needed_by \`browser\`"
fi

if [ -e /proc/version ]; then
    bpf=""
    command -v clang >/dev/null 2>&1 || bpf="$bpf clang"
    command -v llvm-strip >/dev/null 2>&1 || bpf="$bpf llvm"
    [ -e "${BPF_HEADERS:-/usr/include/bpf}/bpf_helpers.h" ] || bpf="$bpf libbpf-dev"
    if [ -n "$bpf" ]; then
        missing="$missing$bpf"
        needed_by="$needed_by \`kernel\`"
    fi
fi

if ! command -v redis-server >/dev/null 2>&1; then
    missing="$missing redis-server"
    needed_by="$needed_by \`services\`"
fi

missing="${missing# }"
needed_by="${needed_by# }"
if [ -z "$missing" ]; then
    exit 0
fi

skip() {
    echo "apt: $1; tests marked $needed_by will skip in part: missing are $missing" >&2
    exit 0
}

if [ -n "${NO_APT:-}" ]; then
    skip "installing nothing, as NO_APT is set"
fi
if [ ! -e /etc/debian_version ] || ! command -v apt-get >/dev/null 2>&1; then
    skip "this is no Debian"
fi
if [ "$(id -u)" -ne 0 ]; then
    skip "not root (\`sudo apt-get install $missing\` mends it)"
fi

echo "apt: installing $missing for the tests marked $needed_by (NO_APT=1 skips this)"
export DEBIAN_FRONTEND=noninteractive
{
    apt-get update --quiet --quiet &&
        # shellcheck disable=SC2086
        apt-get install --quiet --quiet --yes --no-install-recommends $missing
} >/dev/null || skip "the installation failed"
