"""The end of the interpreter: no thread may be in Python code then that daxmap's Rust code has called.

CPython before 3.14 ends the threads that are left, daemon threads, as soon as one asks for the interpreter's lock. It
does so by pthread_exit(3), which unwinds the thread's stack, and Rust aborts the process if its frames are in it. So
before that, when every other thread is joined:

1. Callbacks, resolvers and the like that are under way on other threads get a second to end. None is begun any more: a
   call that would raises SystemExit, which ends its thread as the interpreter would.
2. Those that go on get a SystemExit, too, between two bytecodes of theirs, and two seconds more. Not amid a function of
   `logging`, where it could leave a lock taken that `logging.shutdown` waits for.
3. What is left then waits in C code, for a lock or a timer. It is left alone: it does no harm unless it asks for the
   interpreter just before the process is gone.
"""

import atexit
import sys
import time

from daxmap._core import _refuse_other_threads, _threads_inside

TYPE_CHECKING = False  # typing itself is not imported: see daxmap/__init__.py
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_TO_END = 1.0
"""Seconds for callbacks to end by themselves."""
_TO_BE_ENDED = 2.0
"""Seconds for those that were given a SystemExit."""
_TICK = 0.002


def _inside() -> "dict[int, FrameType]":
    """The threads concerned, and where they are. A forked child has only its own, whatever its parent's were doing."""
    frames = sys._current_frames()  # noqa: SLF001  (the documented way)
    return {thread: frames[thread] for thread in _threads_inside() if thread in frames}


def _all_left(seconds: float, look: "Callable[[dict[int, FrameType]], object]" = lambda _: None) -> bool:
    deadline = time.monotonic() + seconds
    while inside := _inside():
        look(inside)
        if time.monotonic() > deadline:
            return False
        time.sleep(_TICK)
    return True


def _end_calls() -> None:
    _refuse_other_threads()
    if _all_left(_TO_END):
        return
    import ctypes  # noqa: PLC0415  (hardly ever needed)
    import logging  # noqa: PLC0415  (there by now, if a program uses it)

    told: set[int] = set()

    def tell(inside: "dict[int, FrameType]") -> None:
        for thread, frame in inside.items():
            if thread not in told and frame.f_code.co_filename != logging.__file__:
                told.add(thread)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(SystemExit))

    _all_left(_TO_BE_ENDED, tell)


atexit.register(_end_calls)
