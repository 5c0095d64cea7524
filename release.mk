# What users install: the wheels of all platforms, the sdist, and their checks. Included by the Makefile.

.PHONY: wheels sdist test-wheel

wheels: ## build the wheels of all platforms into dist/, and check them; make wheels ARGS="manylinux-x86_64 macos-arm64"
	bash scripts/release/wheels.sh $(ARGS)

sdist: ## build the sdist into dist/, and test daxmap as built from it
	bash scripts/release/sdist.sh $(ARGS)

test-wheel: ## run the Python tests on the wheel in dist/ that fits; make test-wheel PYTHON=python3.13 ARGS=tests/contract
	PYTHON=$(PYTHON) bash scripts/release/test-wheel.sh $(ARGS)
