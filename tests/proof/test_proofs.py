import re
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("z3", reason="z3-solver is not installed", exc_type=ImportError)
from z3 import BoolVal

from daxmap import WindowLayout, dax_window_base
from daxmap.config import WINDOW_ALIGNMENT
from proof import naive, vectors
from proof.lemmas import Claim, Lemma, Statement
from proof.models import Model, places
from proof.subjects import FALLACIES, LEMMAS, MODELS
from support.paths import PROJECT

VECTORS = vectors.read()


@pytest.mark.parametrize("lemma", LEMMAS, ids=lambda lemma: lemma.name)
def test_lemma_is_proven(lemma: Lemma) -> None:
    assert lemma.counterexample() is None


@pytest.mark.parametrize("fallacy", FALLACIES, ids=lambda fallacy: fallacy.name)
def test_arithmetic_without_checks_goes_wrong(fallacy: Lemma) -> None:
    assert fallacy.counterexample() is not None


@pytest.mark.parametrize(
    "claims", [naive.a_base_aligned_down_lies_above_ram, naive.a_base_aligned_up_without_a_check_lies_above_ram]
)
def test_where_other_bases_go_wrong_ours_is_above_ram_or_refused(claims: Statement) -> None:
    words = Lemma(claims).counterexample()
    assert words is not None
    ram_end = words["ram_end"]
    if ram_end > 2**64 - WINDOW_ALIGNMENT:
        with pytest.raises(ValueError, match="no 2 MiB boundary"):
            dax_window_base(ram_end, 0)
    else:
        assert dax_window_base(ram_end, 0) >= ram_end


def test_a_claim_about_nothing_is_no_proof() -> None:
    with pytest.raises(ValueError, match="a claim about nothing"):
        Lemma(lambda: iter([Claim(given=BoolVal(val=False), then=BoolVal(val=True))])).counterexample()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_vectors_are_what_the_model_says(model: Model) -> None:
    assert model.name in VECTORS, "to write them: PYTHONPATH=tests python -m proof --write"
    for arguments, said in VECTORS[model.name]:
        assert model(arguments) == said


def test_all_vectors_are_of_a_model() -> None:
    assert set(VECTORS) == {model.name for model in MODELS}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_test_compares_the_function_with_its_model(model: Model) -> None:
    [file] = {file for file, _ in places(model.function)}
    comparison = f'check("{model.name}", ' if file.endswith(".rs") else f'VECTORS["{model.name}"]'
    tests = PROJECT / file if file.endswith(".rs") else Path(__file__)
    assert comparison in tests.read_text()


@pytest.mark.parametrize("documented", [model.function for model in MODELS] + [lemma.claims for lemma in LEMMAS])
def test_what_it_is_about_is_there(documented: Callable[..., object]) -> None:
    named = list(places(documented))
    assert named
    for file, name in named:
        pattern = rf"^\s*(pub(\(\w+\))? )?(fn|def|class) {name.rpartition('::')[2]}\b"
        assert re.search(pattern, (PROJECT / file).read_text(), re.MULTILINE), f"{file}: {name}"


@pytest.mark.parametrize(("arguments", "said"), VECTORS["dax_window_base"])
def test_base_is_its_model(arguments: list[int], said: list[int]) -> None:
    if said:
        assert [dax_window_base(*arguments)] == said
    else:
        with pytest.raises(ValueError, match="no 2 MiB boundary"):
            dax_window_base(*arguments)


@pytest.mark.parametrize(("arguments", "said"), VECTORS["window_layout"])
def test_layout_is_its_model(arguments: list[int], said: list[int]) -> None:
    ram_base, ram_size, *sizes, phys_bits = arguments
    shares = [(str(index), size) for index, size in enumerate(sizes)]
    if said:
        layout = WindowLayout(ram_base, ram_size, shares, phys_bits=phys_bits)
        assert [number for share in layout for number in (share.base, share.size)] == said
    else:
        with pytest.raises(ValueError, match=r"past the|no 2 MiB boundary"):
            WindowLayout(ram_base, ram_size, shares, phys_bits=phys_bits)
