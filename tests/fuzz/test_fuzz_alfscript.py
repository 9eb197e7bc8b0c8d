"""A slice of what `python tests/fuzz/alfscripts.py` does by the hundred thousand; and texts of any kind."""

from __future__ import annotations

from collections import Counter

import pytest
from alfscripts import REAL, WORDS, Scripts, check, check_printed
from hypothesis import given, settings
from hypothesis import strategies as st

TOKENS = (
    *WORDS,
    "Job ",
    "Task ",
    "Cmd ",
    "Instance ",
    "Iterate f -from 1 -to 3 -template ",
    "-subtasks {",
    "-cmds {",
    "} ",
)


@pytest.mark.parametrize("seed", range(4))
def test_every_script_is_read_or_refused_with_a_place_in_it(seed: int) -> None:
    scripts = Scripts(seed)
    outcomes = Counter(check(scripts.next()) for _ in range(400))
    assert outcomes["read"] > 20 and outcomes["refused"] > 20, outcomes


def test_whatever_a_command_prints_is_grafted_or_refused() -> None:
    scripts = Scripts(7)
    outcomes = Counter(check_printed(scripts.printed()) for _ in range(400))
    assert outcomes["grafted"] > 20 and outcomes["refused"] > 20, outcomes


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    check(text)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=40).map("".join))
def test_any_heap_of_words_is_read_or_refused(text: str) -> None:
    check(text)


@pytest.mark.parametrize("script", REAL)
def test_a_script_that_ends_anywhere_is_read_or_refused(script: str) -> None:
    assert check(script).startswith("read")
    for end in range(len(script)):
        check(script[:end])
