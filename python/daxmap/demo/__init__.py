"""`daxmap demo`: a guest reads and writes host files through its DAX window.

| module    | duty                                                           |
|-----------|----------------------------------------------------------------|
| `machine` | what the story needs of a guest, and the guests that there are |
| `choice`  | which of them to take, and why                                 |
| `story`   | the steps, whatever the guest                                  |
| `run`     | text or JSON, and the exit code                                |

The guests are `daxmap.kvm.Vm` and `daxmap.unicorn.UnicornVm`; their programs are those of `daxmap.guest`.
"""
