#!/usr/bin/env bash
# Runs on a Mac what can run there: the core's tests, the Python tests that need no Linux, and examples/macos_vmm.py, whose
# guest Hypervisor.framework runs. Most Macs that are virtual machines lack it, GitHub's too: there it says SKIP; with
# HVF=require that is a failure. With SIGN=yes the Python that runs is given the entitlement, in place.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(uname -sm)" != 'Darwin arm64' ]; then
  echo 'test-macos: this is no Mac with Apple silicon' >&2
  exit 1
fi

cargo test --package daxmap-core --locked --lib --test fuse --test own_hypervisor
cargo test --package daxmap-core --locked --doc
.venv/bin/pytest tests/test_config.py tests/test_layout.py tests/test_sizes.py tests/hvf
.venv/bin/daxmap doctor

if [ "$(sysctl -n kern.hv_support 2>/dev/null || true)" != 1 ]; then
  printf '\ntest-macos: SKIP: this Mac has no Hypervisor.framework (sysctl kern.hv_support): its guest did NOT run\n\n'
  [ "${HVF:-}" != require ]
  exit
fi

if [ "${SIGN:-}" = yes ]; then
  # Of a framework build, another program runs than the one in bin: _NSGetExecutablePath of dyld(3) knows it.
  program=$(.venv/bin/python -c '
import ctypes, os
path, size = ctypes.create_string_buffer(4096), ctypes.c_uint32(4096)
ctypes.CDLL(None)._NSGetExecutablePath(path, ctypes.byref(size))
print(os.path.realpath(os.fsdecode(path.value)))')
  plist=target/hypervisor.plist
  cat >"$plist" <<'PLIST'
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict><key>com.apple.security.hypervisor</key><true/></dict></plist>
PLIST
  [ -w "$program" ] && root='' || root=sudo
  $root codesign --sign - --force --entitlements "$plist" "$program"
fi
.venv/bin/python examples/macos_vmm.py
