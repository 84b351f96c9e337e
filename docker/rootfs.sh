#!/bin/sh
# Puts together the whole root file system of the server image, inside the build.
#
#   rootfs.sh ROOT SERVER_BINARY ONNXRUNTIME_FOLDER LICENSE
#
# Takes the shared libraries that the binary and ONNX Runtime really load (ldd), the loader, certificates and the
# users' names; notes each file's Debian package in var/lib/dpkg/status.d, where scanners look for it.
set -eu

root=$1 server=$2 onnxruntime=$3 license=$4
library=$(readlink -f "$onnxruntime/libonnxruntime.so")

mkdir -p "$root/usr/local/bin" "$root/usr/local/lib" "$root/var/lib/dpkg/status.d" "$root/usr/share/doc/onnxruntime" \
    "$root/usr/share/doc/layoutlm-server" "$root/etc/ssl/certs" "$root/opt/ml/model"
install -m 755 "$server" "$root/usr/local/bin/layoutlm-server"
install -m 755 "$library" "$root/usr/local/lib/$(basename "$library")"
ln -s "$(basename "$library")" "$root/usr/local/lib/libonnxruntime.so.1"
cp "$onnxruntime/LICENSE" "$onnxruntime/ThirdPartyNotices.txt" "$root/usr/share/doc/onnxruntime/"
cp "$license" "$root/usr/share/doc/layoutlm-server/copyright"

# The package of a file, whichever of /lib and /usr/lib its list names.
owner() {
    for name in "$1" "/usr$1" "${1#/usr}"; do
        if found=$(dpkg-query -S "$name" 2>/dev/null); then
            echo "${found%%:*}"
            return
        fi
    done
    echo "rootfs: no package owns $1" >&2
    exit 1
}

# A library goes where the loader asks for it, its content from where the name leads to.
take() {
    mkdir -p "$root$(dirname "$1")"
    cp -L "$1" "$root$1"
    package=$(owner "$(readlink -f "$1")")
    [ -f "$root/var/lib/dpkg/status.d/$package" ] && return
    dpkg-query -s "$package" >"$root/var/lib/dpkg/status.d/$package"
    mkdir -p "$root/usr/share/doc/$package"
    cp -L "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/copyright"
}

loaded=$(ldd "$server" "$library" | sed -n -e 's/.*=> \(\/[^ ]*\) .*/\1/p' -e 's/^[[:space:]]*\(\/lib[^ ]*ld-[^ ]*\) .*/\1/p' | sort -u)
for file in $loaded; do
    take "$file"
done
# Names of hosts are looked up through glibc, which opens these when asked.
for file in $(ldconfig -p | sed -n 's/.*=> \(\/.*\/libnss_\(dns\|files\)\.so\.2\|\/.*\/libresolv\.so\.2\)$/\1/p'); do
    take "$file"
done

cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
dpkg-query -s ca-certificates >"$root/var/lib/dpkg/status.d/ca-certificates"
mkdir -p "$root/usr/share/doc/ca-certificates"
cp -L /usr/share/doc/ca-certificates/copyright "$root/usr/share/doc/ca-certificates/copyright"
cp /etc/os-release "$root/etc/os-release"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
printf 'root:x:0:0:root:/:/none\nlayoutlm:x:10001:10001:layoutlm:/:/none\n' >"$root/etc/passwd"
printf 'root:x:0:\nlayoutlm:x:10001:\n' >"$root/etc/group"
# Any user may write here, where the container's file system lets them: a bundle from S3 is kept in /cache.
mkdir -p "$root/tmp" "$root/cache"
chmod 1777 "$root/tmp" "$root/cache"
