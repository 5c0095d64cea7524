"""Emulated machines that run daxmap's own tests: a real KVM, other processors, other page sizes.

| module    | duty                                                                      |
|-----------|---------------------------------------------------------------------------|
| `kinds`   | which machines there are: processor, kernel, where its wheel comes from   |
| `system`  | Debian in a machine: made once                                            |
| `load`    | what each run brings along: the wheel, the tests, the job                 |
| `boot`    | one run, from QEMU's start to its end                                     |
"""
