"""A small virtual machine over unicorn, a CPU emulator: for where there is no /dev/kvm.

    pip install 'daxmap[demo]'

unicorn is no part of daxmap, since its licence is the GPL. Without it, the import of this module is an ImportError.
What the calls do is in unicorn's include/unicorn/unicorn.h.
"""

import threading

from daxmap.exits import Exit, Halted, Mmio, Stopped
from daxmap.guest import ENTRY, REPORT_PORT, Program, check_code, ram_in_bytes
from daxmap.protocols import Access

try:
    from unicorn import (
        UC_ARCH_X86,
        UC_HOOK_INSN,
        UC_HOOK_MEM_READ_PROT,
        UC_HOOK_MEM_READ_UNMAPPED,
        UC_HOOK_MEM_WRITE_PROT,
        UC_HOOK_MEM_WRITE_UNMAPPED,
        UC_MEM_WRITE_PROT,
        UC_MEM_WRITE_UNMAPPED,
        UC_MODE_32,
        Uc,
        UcError,
        __version__,
    )
    from unicorn.x86_const import UC_X86_INS_IN, UC_X86_INS_OUT
except ImportError as _error:
    raise ImportError(f"{_error}: pip install 'daxmap[demo]'", name="unicorn") from _error

__all__ = ["UnicornVm", "__version__"]

_NOWHERE = 1 << 32  # where unicorn is to stop, beyond all that this CPU can reach: HLT ends a program


class UnicornVm:
    """A virtual machine that is emulated: `ram_size` bytes of RAM at guest physical address 0, and one CPU.

    The CPU is in flat 32-bit protected mode without paging, as that of `daxmap.kvm.Vm` is on
    x86-64, whatever the host's own architecture.

    It is also what `HypervisorBackend` takes, a `daxmap.protocols.Hypervisor`: `map`, `unmap` and `protect` are one
    call of unicorn's each. Where unicorn refuses they raise unicorn.UcError, and the caller of the mapper gets EIO.

    Any thread may call it; while a program runs, others wait.

    A load or store past the end of a file that was truncated is SIGBUS for the whole process, as it is for every VMM
    whose guest runs in user space.

    Args:
        ram_size: bytes, a positive multiple of the page size, 4 GiB at most; or text such as "2MiB".

    Raises:
        TypeError: `ram_size` is neither an int nor a str.
        ValueError: `ram_size` is no such size.
        unicorn.UcError: unicorn has no x86, or does not take the RAM.
    """

    def __init__(self, ram_size: int | str) -> None:
        ram_size = ram_in_bytes(ram_size)
        self._uc = Uc(UC_ARCH_X86, UC_MODE_32)  # flat 32-bit protected mode, without paging
        self._uc.mem_map(0, ram_size)
        self._ram_size = ram_size
        self._fresh = self._uc.context_save()
        self._lock = threading.Lock()
        self._values: list[int] = []
        self._end: Exit | None = None
        self._uc.hook_add(UC_HOOK_INSN, self._on_out, aux1=UC_X86_INS_OUT)
        self._uc.hook_add(UC_HOOK_INSN, self._on_in, aux1=UC_X86_INS_IN)
        for refusal in (
            UC_HOOK_MEM_READ_UNMAPPED,
            UC_HOOK_MEM_READ_PROT,
            UC_HOOK_MEM_WRITE_UNMAPPED,
            UC_HOOK_MEM_WRITE_PROT,
        ):
            self._uc.hook_add(refusal, self._on_refusal)

    def map(self, host_address: int, guest_address: int, length: int, access: Access) -> None:
        """See `daxmap.protocols.Hypervisor.map`. The bits of `access` are those of unicorn's `uc_prot`."""
        with self._lock:
            self._uc.mem_map_ptr(guest_address, length, access, host_address)

    def unmap(self, guest_address: int, length: int) -> None:
        """See `daxmap.protocols.Hypervisor.unmap`."""
        with self._lock:
            self._uc.mem_unmap(guest_address, length)

    def protect(self, guest_address: int, length: int, access: Access) -> None:
        """See `daxmap.protocols.Hypervisor`: change what the guest may do there."""
        with self._lock:
            self._uc.mem_protect(guest_address, length, access)

    def run(self, program: Program | bytes) -> Exit:
        """Run `program` to its end on a CPU fresh from reset, and say how it ended.

        Python's signal handlers run afterwards.

        Args:
            program: what a function of `daxmap.guest` gives; or x86 machine code, which reports and ends as that module
                says.

        Raises:
            ValueError: if the program does not fit into RAM.
        """
        code = check_code(program.x86 if isinstance(program, Program) else program, self._ram_size)
        with self._lock:
            self._values, self._end = [], None
            self._uc.context_restore(self._fresh)
            self._uc.mem_write(ENTRY, code)
            self._uc.ctl_remove_cache(ENTRY, ENTRY + len(code))  # else the program before it would run again
            try:
                self._uc.emu_start(ENTRY, _NOWHERE)
            except UcError as error:
                return self._ended(Stopped(str(error)))
            return self._ended(Halted(tuple(self._values)))

    def _ended(self, otherwise: Exit) -> Exit:
        """What a hook said of the end, since it knows more; else what unicorn said."""
        return self._end or otherwise

    def _on_out(self, uc: Uc, port: int, _size: int, value: int, _data: object) -> None:
        if port == REPORT_PORT:
            self._values.append(value)
        else:
            self._end = Stopped(f"OUT to port {port:#x}")
            uc.emu_stop()

    def _on_in(self, uc: Uc, port: int, _size: int, _data: object) -> int:
        self._end = Stopped(f"IN from port {port:#x}")
        uc.emu_stop()
        return 0

    def _on_refusal(self, _uc: Uc, access: int, address: int, _size: int, _value: int, _data: object) -> bool:
        self._end = Mmio(address, access in (UC_MEM_WRITE_UNMAPPED, UC_MEM_WRITE_PROT))
        return False  # not repaired: the program ends here
