"""The tests of this folder notice when the compiler is spoiled; all mutants: `python -m tests.alerts.mutations`."""

from __future__ import annotations

from pathlib import Path

import pytest

from .mutations import CONTROL, MUTANTS, SOME, SOURCE, noticed


@pytest.mark.parametrize("name", SOME)
def test_a_spoiled_compiler_is_noticed(promtool: Path, amtool: Path, name: str) -> None:
    """Guard, zero, window, latch, grouping, inhibition, lint: without any one of them a fast test fails."""
    (mutant,) = [one for one in MUTANTS if one.name == name]
    assert noticed(mutant, by_all=False)


def test_an_unspoiled_compiler_is_not(promtool: Path) -> None:
    """What notices everything would notice nothing."""
    assert not noticed(CONTROL, by_all=False)


def test_every_mutant_still_has_its_place() -> None:
    """Each text to be replaced is there, and at least twenty mutants are."""
    gone = [one.name for one in MUTANTS if one.old not in (SOURCE / f"{one.module}.py").read_text()]
    assert [] == gone
    assert len({one.name for one in MUTANTS}) == len(MUTANTS) >= 20
