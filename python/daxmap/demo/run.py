"""`daxmap demo` as a command: runs the story on a guest, and reports in text or JSON."""

import json
import sys
import textwrap
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from daxmap import DAX_WINDOW_PER_SHARE, WindowLayout
from daxmap.demo.choice import NoGuestError, open_guest
from daxmap.demo.story import STEPS, Outcome, Scene, tell
from daxmap.kvm import DEVICE

_RAM_SIZE = 2 << 20
_INDENT = "   "
_WIDTH = 96


def demo(kind: str | None = None, *, as_json: bool = False, device: str = DEVICE) -> int:
    """Run the demo and print how it goes to standard output.

    Args:
        kind: the guest to run it on, one of `choice.GUESTS`; None for the best one that can be had.
        as_json: print one JSON object at the end, instead of text step by step.
        device: path of the KVM device.

    Returns:
        The exit code: 0 if every step went right and every byte was as it must be, else 1; 2 if the guest asked for
        cannot be had, which standard error then explains.
    """
    start = time.monotonic()
    share = WindowLayout(0, _RAM_SIZE, [("demo", DAX_WINDOW_PER_SHARE)])["demo"]
    progress = _keep_quiet if as_json else _say
    with ExitStack() as stack:
        directory = stack.enter_context(TemporaryDirectory(prefix="daxmap-demo-"))
        try:
            choice = stack.enter_context(open_guest(share, _RAM_SIZE, kind, device=device))
        except NoGuestError as error:
            sys.stderr.write(f"daxmap demo: {error}\n")
            return 2
        guest = choice.guest
        progress("daxmap demo: a guest uses host files through a DAX window\n")
        progress(_filled(f"Guest: {guest.about}, {choice.why}.") + "\n")
        outcomes: list[Outcome] = []
        for outcome in tell(Scene(guest, _RAM_SIZE, Path(directory))):
            outcomes.append(outcome)
            progress(_as_text(len(outcomes), outcome))
        counters = guest.mapper.stats().as_dict()
    ok = len(outcomes) == len(STEPS) and all(outcome.ok for outcome in outcomes)
    elapsed = time.monotonic() - start
    if as_json:
        report = {
            "ok": ok,
            "guest": guest.kind,
            "about": guest.about,
            "why": choice.why,
            "steps": [{"name": o.step.name, "ok": o.ok, "detail": o.detail} for o in outcomes],
            "counters": counters,
            "elapsed_seconds": round(elapsed, 3),
        }
        _say(json.dumps(report, indent=2))
    else:
        _say(f"{'Every byte was right' if ok else 'Something was WRONG'}, in {elapsed:.2f} s.")
    return 0 if ok else 1


def _as_text(number: int, outcome: Outcome) -> str:
    verdict = "ok" if outcome.ok else "WRONG"
    return "\n".join(
        (
            f"{number}. {outcome.step.title}",
            _paragraph(outcome.step.lesson),
            _paragraph(f"-> {verdict}: {outcome.detail}"),
            "",
        )
    )


def _paragraph(text: str) -> str:
    return _filled(text, _INDENT)


def _filled(text: str, indent: str = "") -> str:
    """A paragraph. A path in it stays in one piece, to be copied."""
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _keep_quiet(_text: str) -> None:
    """A JSON report comes at the end, in one piece."""
