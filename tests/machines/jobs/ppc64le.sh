# What depends on the size of pages. There is no KVM in this machine, and no guest's code for its processor.
failed=0
daxmap demo --guest none || failed=1
tests="python3 -m pytest -q -p no:cacheprovider --numprocesses 2 --dist loadfile -o timeout=600 -o faulthandler_timeout=700"
$tests tests/contract tests/dispatcher tests/hypervisor tests/picture tests/test_*.py || failed=1
exit $failed
