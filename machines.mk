# daxmap's tests in emulated machines, from the wheel. Included by the Makefile.

.PHONY: real-kvm arm64 ppc64le

MACHINE = PYTHONPATH=tests $(BIN)/python -m machines $@

real-kvm: $(TOOLS) ## run the tests of KVM where KVM is as on real hardware, in a machine that is emulated; JOB=script runs another job there
	$(MACHINE)

arm64: $(TOOLS) ## run tests and guests on a processor of Arm, with pages of 16 KiB, in a machine that is emulated
	$(MACHINE)

ppc64le: $(TOOLS) ## run tests with pages of 64 KiB, in a machine that is emulated
	$(MACHINE)
