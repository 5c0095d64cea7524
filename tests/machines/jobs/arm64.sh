# The demo, guests, and the tests that depend on the size of pages or on the processor.
failed=0
export PATIENCE=5 # minutes become many under emulation
daxmap demo --guest kvm || failed=1
tests="python3 -m pytest -q -p no:cacheprovider --numprocesses 2 --dist loadfile -o timeout=600 -o faulthandler_timeout=700"
$tests tests/guest --ignore tests/guest/test_interrupted_vm.py || failed=1
$tests tests/dispatcher tests/test_logging.py || failed=1
$tests tests/picture -k mapper || failed=1
$tests tests/contract -k "host-window or kvm" --ignore tests/contract/test_budget.py --ignore tests/contract/test_model.py || failed=1
exit $failed
