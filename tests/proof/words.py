"""Rust's arithmetic of u64 on z3's bit-vectors. All of it is unsigned; z3's operators < > / % >> are signed."""

from typing import Generic, NamedTuple, TypeVar

from z3 import UGE, ULE, BitVec, BitVecRef, BitVecVal, BoolRef, BVAddNoOverflow, If, ZeroExt

U64_MAX = 2**64 - 1
FILE_END = 2**63 - 1
"""The largest file offset, that of `off_t`."""

T = TypeVar("T")


class Option(NamedTuple, Generic[T]):
    """`Some(value)` where `some` holds, and `None` elsewhere."""

    some: BoolRef
    value: T


def u64(name: str) -> BitVecRef:
    """Any word."""
    return BitVec(name, 64)


def word(number: int) -> BitVecRef:
    """This word."""
    return BitVecVal(number, 64)


def wide(value: BitVecRef) -> BitVecRef:
    """The same number, with room for sums and small multiples: what is said of these is said of the integers."""
    return ZeroExt(8, value)


def checked_add(left: BitVecRef, right: BitVecRef) -> Option[BitVecRef]:
    return Option(BVAddNoOverflow(left, right, False), left + right)  # noqa: FBT003  # unsigned


def checked_sub(left: BitVecRef, right: BitVecRef) -> Option[BitVecRef]:
    return Option(UGE(left, right), left - right)


def saturating_add(left: BitVecRef, right: BitVecRef) -> BitVecRef:
    return If(checked_add(left, right).some, left + right, word(U64_MAX))


def saturating_sub(left: BitVecRef, right: BitVecRef) -> BitVecRef:
    return If(UGE(left, right), left - right, word(0))


def least(left: BitVecRef, right: BitVecRef) -> BitVecRef:
    return If(ULE(left, right), left, right)


def most(left: BitVecRef, right: BitVecRef) -> BitVecRef:
    return If(ULE(left, right), right, left)


def is_multiple(value: BitVecRef, unit: BitVecRef | int) -> BoolRef:
    """Of a power of two."""
    return value & (unit - 1) == 0


def checked_next_multiple_of(value: BitVecRef, unit: BitVecRef) -> Option[BitVecRef]:
    """Of a power of two."""
    up = (value + (unit - 1)) & ~(unit - 1)
    return Option(UGE(up, value), up)
