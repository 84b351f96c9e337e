#!/bin/sh
# Cuts the workspace in the working directory down to the server's rooms, inside the build: manifests without other rooms,
# without tests and without dependencies that no room here asks for, a lock file to match, and empty sources.
#
# What comes out changes only when the server's own dependencies do, so their compiled layer stays good through all else.
set -eu

sed -i '/^\[dev-dependencies\]/,$d' core/Cargo.toml inference/Cargo.toml aws/Cargo.toml
asked=$(sed -n -E 's/^([A-Za-z0-9_-]+)(\.workspace = true| = \{.*workspace = true.*)$/\1/p' core/Cargo.toml inference/Cargo.toml aws/Cargo.toml)
awk -v asked="$asked" '
    BEGIN { count = split(asked, names, "\n"); for (i = 1; i <= count; i++) keep[names[i]] = 1 }
    /^\[package\]/ { exit }
    /^\[/ { section = $0 }
    /^members = / { print "members = [\"core\", \"inference\", \"aws\"]"; next }
    section == "[workspace.dependencies]" && / = / && !($1 in keep) { next }
    { print }
' Cargo.toml >Cargo.toml.cut
mv Cargo.toml.cut Cargo.toml

mkdir -p core/src inference/src/bin aws/src
touch core/src/lib.rs inference/src/lib.rs aws/src/lib.rs
echo 'fn main() {}' >inference/src/bin/layoutlm-server.rs
# Drops from the lock file what is no longer asked for, and changes no version.
cargo update --quiet --workspace
