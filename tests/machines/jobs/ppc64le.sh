# What depends on the size of pages. There is no KVM in this machine, and no guest's code for its processor.
failed=0
export PATIENCE=5 # minutes become many under emulation
daxmap demo --guest none || failed=1
tests="python3 -m pytest -q -p no:cacheprovider --numprocesses 2 --dist loadfile -o timeout=600 -o faulthandler_timeout=700"
$tests tests/dispatcher tests/hypervisor tests/test_logging.py || failed=1
$tests tests/picture -k mapper || failed=1
$tests tests/contract -k host-window --ignore tests/contract/test_budget.py --ignore tests/contract/test_model.py || failed=1
exit $failed
