"""What is checked in the guest, in order."""

from linux_guest.checks import changing, content, mapping, metadata, names, trees
from linux_guest.rig import Check

ALL: list[Check] = [
    *mapping.checks,
    *changing.checks,
    *names.checks,
    *metadata.checks,
    *content.checks,
    *trees.checks,
]
