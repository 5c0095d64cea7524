"""`daxmap demo`: a guest reads and writes host files through its DAX window.

| module    | duty                                                          |
|-----------|---------------------------------------------------------------|
| `guest`   | the guest's programs, as x86 machine code                     |
| `kvm`     | a small VMM over /dev/kvm that runs them                      |
| `machine` | what the story needs of a guest, and the guests that there are |
| `story`   | the steps, whatever the guest                                 |
| `run`     | text or JSON, and the exit code                               |
"""
