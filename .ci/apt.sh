#!/bin/sh
# Installs what the tests need from the system, as root on Debian; elsewhere it says which tests will skip.
# NO_APT=1 installs nothing. Quick when nothing is missing.
set -eu

for browser in chromium chromium-browser google-chrome; do
    if command -v "$browser" >/dev/null 2>&1; then
        exit 0
    fi
done

skip() {
    echo "apt: $1; tests marked \`browser\` will skip: no Chromium was found" >&2
    exit 0
}

if [ -n "${NO_APT:-}" ]; then
    skip "not installing chromium, as NO_APT is set"
fi
if [ ! -e /etc/debian_version ] || ! command -v apt-get >/dev/null 2>&1; then
    skip "this is no Debian"
fi
if [ "$(id -u)" -ne 0 ]; then
    skip "not root (\`sudo apt-get install chromium\` mends it)"
fi

echo "apt: installing chromium for the tests marked \`browser\` (NO_APT=1 skips this)"
export DEBIAN_FRONTEND=noninteractive
{
    apt-get update --quiet --quiet &&
        apt-get install --quiet --quiet --yes --no-install-recommends chromium
} >/dev/null || skip "the installation failed"
