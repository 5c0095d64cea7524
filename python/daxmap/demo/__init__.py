"""`daxmap demo`: a guest reads and writes host files through its DAX window.

| module       | duty                                                           |
|--------------|----------------------------------------------------------------|
| `guest`      | the guest's programs, as x86 machine code                      |
| `exits`      | how a program can end                                          |
| `kvm`        | a small VMM over /dev/kvm that runs them                       |
| `unicorn_vm` | the same over unicorn, a CPU emulator; needs the extra `demo`  |
| `machine`    | what the story needs of a guest, and the guests that there are |
| `choice`     | which of them to take, and why                                 |
| `story`      | the steps, whatever the guest                                  |
| `run`        | text or JSON, and the exit code                                |
"""
