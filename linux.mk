# A stock Linux guest that checks a share of `daxmap serve` from inside. Included by the Makefile.

.PHONY: linux-guest linux-guest-shell bench-guest

linux-guest: $(BUILT) ## boot Debian's kernels in QEMU and check a DAX share there, in three minutes; make linux-guest ARGS="rename upgrade"
	PYTHONPATH=tests $(BIN)/python -m linux_guest $(ARGS)

linux-guest-shell: $(BUILT) ## leave you at a shell in that guest, with a DAX share; make linux-guest-shell ARGS=dax=inode
	PYTHONPATH=tests $(BIN)/python -m linux_guest shell $(ARGS)

bench-guest: $(BUILT) ## measure what DAX gives that guest, beside the same server without it and Debian's virtiofsd
	PYTHONPATH=tests $(BIN)/python -m linux_guest bench $(ARGS)
