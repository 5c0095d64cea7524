"""The budget of memory mappings that all windows of a process share."""

from collections.abc import Iterator

from z3 import UGE, ULE, And, BitVecRef, If

from proof.lemmas import Claim, lemma
from proof.models import model
from proof.words import Option, checked_add, u64, wide, word


@model
def charge_try_grow(limit: BitVecRef, used: BitVecRef, more: BitVecRef) -> Option[BitVecRef]:
    """What is used of the budget then.

    In rust/daxmap-core/src/budget.rs: Charge::try_grow
    """
    grown = checked_add(used, more)
    return Option(And(grown.some, ULE(grown.value, limit)), grown.value)


@model
def charge_set(used: BitVecRef, mine: BitVecRef, wanted: BitVecRef) -> BitVecRef:
    """What is used of the budget then.

    In rust/daxmap-core/src/budget.rs: Charge::set
    """
    return If(UGE(wanted, mine), used + (wanted - mine), used - (mine - wanted))


@lemma
def no_charge_passes_the_limit() -> Iterator[Claim]:
    """A charge that is granted leaves the sum at the limit or below; one that is refused would have passed it.

    In rust/daxmap-core/src/budget.rs: Charge::try_grow
    """
    limit, used, more = u64("limit"), u64("used"), u64("more")
    grown = charge_try_grow(limit, used, more)
    yield Claim(grown.some == ULE(wide(used) + wide(more), wide(limit)))
    yield Claim(given=grown.some, then=wide(grown.value) == wide(used) + wide(more))


@lemma
def shares_of_the_budget_add_up() -> Iterator[Claim]:
    """What is used is what one window has charged and what all others have. It is so again when that window has changed
    its charge; and when it gives all of it back, the others' is left.

    In rust/daxmap-core/src/budget.rs: Charge::set
    """
    used, mine, others, wanted = u64("used"), u64("mine"), u64("others"), u64("wanted")
    given = used == mine + others
    yield Claim(given=given, then=charge_set(used, mine, wanted) == wanted + others)
    yield Claim(given=given, then=charge_set(used, mine, word(0)) == others)
