#!/bin/sh
# Fetches what the tests of BPF LSM programs boot: QEMU, as root on Debian, and a kernel that is unpacked into .guest/ and
# installed nowhere. Where it cannot, it says which tests will skip. NO_APT=1 fetches nothing. Quick when all is there.
set -eu
cd "$(dirname "$0")/.."
guest="${GUEST_FOLDER:-.guest}"

missing=""
command -v qemu-system-x86_64 >/dev/null 2>&1 || missing="qemu-system-x86"
kernel=""
for each in "$guest"/vmlinuz-*; do
    [ -e "$each" ] && kernel="$each"
done
if [ -z "$missing" ] && [ -n "$kernel" ]; then
    exit 0
fi

skip() {
    echo "guest: $1; the tests of BPF LSM programs will skip" >&2
    exit 0
}

if [ -n "${NO_APT:-}" ]; then
    skip "fetching nothing, as NO_APT is set"
fi
if [ "$(uname -m)" != x86_64 ]; then
    skip "the guest is for x86-64"
fi
if [ ! -e /etc/debian_version ] || ! command -v apt-get >/dev/null 2>&1; then
    skip "this is no Debian"
fi
if [ "$(id -u)" -ne 0 ]; then
    skip "not root"
fi

echo "guest: fetching QEMU and a kernel for the tests of BPF LSM programs (NO_APT=1 skips this)"
export DEBIAN_FRONTEND=noninteractive
if [ -n "$missing" ]; then
    {
        apt-get update --quiet --quiet &&
            apt-get install --quiet --quiet --yes --no-install-recommends "$missing"
    } >/dev/null || skip "the installation of QEMU failed"
fi
if [ -z "$kernel" ]; then
    work="$(mktemp -d)"
    trap 'rm -rf "$work"' EXIT
    # The package that the current kernel's name stands for.
    name="$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)"
    [ -n "$name" ] || skip "no package linux-image-cloud-amd64 is known"
    # As apt's own user cannot write to our folder, it warns on standard error.
    (cd "$work" && apt-get download --quiet --quiet "$name" >/dev/null 2>&1 && dpkg -x ./*.deb unpacked) ||
        skip "the kernel cannot be fetched"
    mkdir -p "$guest"
    cp "$work"/unpacked/boot/vmlinuz-* "$guest"/
fi
