#!/usr/bin/env bash
# Prints where the source of Rust's standard library is, for exactly the compiler that is here: from it, cargo builds for
# a target whose library is not installed. Where it can't be had, it says why, and fails.
#
# It is rustup's component rust-src if that is installed. Else it is Debian's package rust-src, unpacked into target/:
# nothing is installed, and apt works with sources and lists of its own, so that releases which this system does
# not use are asked too.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(rustc --version | cut -d ' ' -f 2)
cache=$PWD/target
kept=$cache/rust-src-$version

for source in "$(rustc --print sysroot)/lib/rustlib/src/rust/library" "$kept"; do
  if [ -f "$source/std/Cargo.toml" ]; then
    echo "$source"
    exit
  fi
done

fail() {
  echo "no source of Rust $version's standard library: $*" >&2
  exit 1
}
command -v apt-get >/dev/null || fail "install it with rustup component add rust-src"

mkdir -p "$cache"
work=$(mktemp -d "$cache/unpacking.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir -p lists/partial archives/partial root
cat >apt.conf <<CONF
Dir::Etc::SourceList "$work/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "$work/lists";
Dir::Cache "$work";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::http::Timeout "30";
Acquire::Retries "1";
CONF

# The mirror that this system uses, if it uses one.
mirror=$(apt-get indextargets --format '$(REPO_URI)' | awk '/\/debian\/$/ {uri = $0} END {print uri}')
mirror=${mirror:-http://deb.debian.org/debian/}
export APT_CONFIG=$work/apt.conf
keys=/usr/share/keyrings/debian-archive-keyring.gpg
for release in trixie-backports trixie forky sid; do
  echo "deb [signed-by=$keys] $mirror $release main" >sources.list
  apt-get update -qq 2>>log || continue
  package=$(apt-cache madison rust-src | awk -v v="$version+" 'index($3, v) == 1 {found = $3} END {print found}')
  if [ -n "$package" ]; then
    apt-get download -qq "rust-src=$package" 2>>log || fail "$(tail -n 1 log)"
    dpkg-deb --extract ./*.deb root
    mv -T root/usr/src/*/library "$kept" 2>>log || [ -d "$kept" ] # another run may have been first
    echo "$kept"
    exit
  fi
done
fail "no Debian release that was asked has it; $(tail -n 1 log 2>/dev/null || true)"
