# The demo, the tests of KVM, and a stock Linux guest, where a touch of a hole by a guest is EFAULT, as on real hardware.
python3 tests/machines/jobs/hold.py &
failed=0
daxmap demo --guest kvm || failed=1
python3 tests/machines/jobs/truncation.py || failed=1
tests="python3 -m pytest -q -p no:cacheprovider --numprocesses 2 --dist loadfile"
$tests tests/guest --ignore tests/guest/test_interrupted_vm.py || failed=1
$tests -k kvm tests/contract/test_setup.py tests/contract/test_upgrade.py tests/contract/test_replace.py tests/contract/test_remove.py \
  tests/contract/test_files_that_change.py tests/contract/test_window.py tests/contract/test_counts.py || failed=1
DAXMAP=/usr/local/bin/daxmap ACCEL=kvm CPUS=1 PATIENCE=4 RELEASES=trixie-backports LINUX_GUEST=require PYTHONPATH=tests \
  python3 -m linux_guest reads stores upgrade eviction growth truncation_by_the_guest rename_under || failed=1
exit $failed
