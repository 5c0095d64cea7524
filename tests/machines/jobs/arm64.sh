# The demo, guests, and the tests that depend on the size of pages or on the processor.
failed=0
daxmap demo --guest kvm || failed=1
tests="python3 -m pytest -q -p no:cacheprovider --numprocesses 2 --dist loadfile -o timeout=600 -o faulthandler_timeout=700"
$tests tests/guest || failed=1
$tests tests/contract || failed=1
$tests tests/dispatcher tests/hypervisor tests/picture tests/test_*.py || failed=1
exit $failed
