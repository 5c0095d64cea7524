# A stock Linux guest that checks a share of `daxmap serve` from inside. Included by the Makefile.

.PHONY: linux-guest linux-guest-shell bench-guest soak-guest

linux-guest: $(BUILT) ## boot Debian's kernels in QEMU and check a DAX share there, in three minutes; make linux-guest ARGS="rename upgrade"
	PYTHONPATH=tests $(BIN)/python -m linux_guest $(ARGS)

linux-guest-shell: $(BUILT) ## leave you at a shell in that guest, with a DAX share; make linux-guest-shell ARGS=dax=inode
	PYTHONPATH=tests $(BIN)/python -m linux_guest shell $(ARGS)

bench-guest: $(BUILT) ## measure what DAX gives that guest, beside the same server without it and Debian's virtiofsd
	PYTHONPATH=tests $(BIN)/python -m linux_guest bench $(ARGS)

MINUTES ?= 60

soak-guest: $(BUILT) ## have that guest work for an hour while the host changes its files and fills its disk; make soak-guest MINUTES=2 SEED=1
	PYTHONPATH=tests $(BIN)/python -m linux_guest soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))
