# What users install: the wheels of all platforms, the sdist, and their checks. Included by the Makefile.

.PHONY: wheels sdist test-pythons

wheels: ## build the wheels of all platforms into dist/, and check them; make wheels ARGS="manylinux-x86_64 macos-arm64"
	bash scripts/release/wheels.sh $(ARGS)

sdist: ## build the sdist into dist/, and test daxmap as built from it
	bash scripts/release/sdist.sh $(ARGS)

test-pythons: ## run the Python tests on the wheel, under each CPython that it is for; make test-pythons ARGS="3.13 3.14t tests/contract"
	PYTHONPATH=tests $(PYTHON) -m pythons $(ARGS)
