"""Retry and Gather: what they accept, and the rules that they become."""

import pytest

from headrace.pipeline.definition import GatherRule, RetryRule
from headrace.pipeline.errors import DefinitionError
from headrace.pipeline.options import Gather, Retry, plain


class OutOfPaper(Exception):
    pass


def test_a_retry_becomes_a_rule_and_comes_back():
    retry = Retry(5, 0.5, 2, 60, False, (OutOfPaper, "package.errors.Jam", 75), KeyError)
    rule = retry.rule()
    assert rule == RetryRule(5, 0.5, 2.0, 60.0, False, ("OutOfPaper", "package.errors.Jam", 75), ("KeyError",))
    assert Retry.of(rule) == retry
    assert Retry(1).rule() == RetryRule()


@pytest.mark.parametrize(
    "given",
    [
        {"tries": 0},
        {"tries": 1.5},
        {"tries": True},
        {"tries": 3, "delay": -1},
        {"tries": 3, "delay": "1"},
        {"tries": 3, "factor": 0.5},
        {"tries": 3, "cap": -1},
        {"tries": 3, "jitter": "yes"},
        {"tries": 3, "on": 1.5},
        {"tries": 3, "on": [None]},
        {"tries": 3, "never": [""]},
        {"tries": 3, "never": int},
    ],
)
def test_a_retry_that_cannot_be_is_refused_naming_the_option(given):
    option = next(reversed(given))
    with pytest.raises(DefinitionError, match=rf"Retry: {option} must be"):
        Retry(**given)


@pytest.mark.parametrize(
    ("gather", "rule"),
    [
        (Gather(), GatherRule()),
        (Gather(level=1), GatherRule(level=1)),
        (Gather(by="key"), GatherRule(by="key")),
        (Gather(size=5), GatherRule(size=5)),
        (Gather(level=2, size=5), GatherRule(level=2, size=5)),
    ],
)
def test_a_gather_becomes_a_rule_and_comes_back(gather, rule):
    assert gather.rule() == rule
    assert Gather.of(rule) == gather


@pytest.mark.parametrize("given", [{"level": 0}, {"level": True}, {"by": ""}, {"by": 3}, {"size": 0}, {"size": 2.0}])
def test_a_gather_that_cannot_be_is_refused_naming_the_option(given):
    with pytest.raises(DefinitionError, match=rf"Gather: {next(iter(given))} must be"):
        Gather(**given)


def test_a_gather_has_one_way_of_grouping():
    with pytest.raises(DefinitionError, match="exclude each other"):
        Gather(by="key", size=3)


def test_they_are_values():
    assert {Retry(3), Retry(3, 0.0)} == {Retry(3)}
    with pytest.raises(AttributeError):
        Retry(3).tries = 4


def test_their_plain_form_says_only_what_is_not_the_default():
    assert plain(Retry(3)) == {"tries": 3}
    assert plain(Retry(3, 1, on=(75,))) == {"tries": 3, "delay": 1.0, "on": [75]}
    assert plain(Gather()) == {}
    assert plain(Gather(by="k")) == {"by": "k"}
