"""Indexed resources: which process has which unit, and what it is told."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.daemons.slots.units import Units, environment, offer_of
from headrace.pipeline.errors import ConfigError
from headrace.pipeline.task import Needs

GPUS = {"gpu": ("0", "1", "2", "3")}


def test_only_indexed_resources_make_a_fit() -> None:
    units = Units(GPUS)
    assert units.fit_of(Needs(resources={"gpu": 2.0, "memory": 8.0})) == (("gpu", 2.0),)
    assert units.fit_of(Needs(resources={"gpu": 0.0})) == () == units.fit_of(Needs()) == units.fit_of(None)


def test_two_processes_never_have_the_same_unit() -> None:
    units = Units(GPUS)
    assert units.promise(0, (("gpu", 2.0),)) and units.promise(1, (("gpu", 2.0),))
    assert (units.begin(0), units.begin(1)) == ({"gpu": ("0", "1")}, {"gpu": ("2", "3")})
    assert not units.promise(2, (("gpu", 1.0),))
    units.end(0)
    assert units.promise(2, (("gpu", 1.0),)) and units.begin(2) == {"gpu": ("0",)}


def test_the_next_process_of_a_slot_may_have_what_the_one_before_it_has() -> None:
    units = Units({"gpu": ("0",)})
    assert units.promise(0, (("gpu", 1.0),))
    units.begin(0)
    assert not units.promise(1, (("gpu", 1.0),)), "the unit is in a process that lives"
    assert units.promise(0, (("gpu", 1.0),))
    units.validate()
    units.end(0)
    assert not units.promise(1, (("gpu", 1.0),)), "the unit was promised"
    assert units.begin(0) == {"gpu": ("0",)}


def test_shares_of_a_unit_are_put_together_and_a_whole_one_is_left_alone() -> None:
    units = Units({"gpu": ("a", "b")})
    given = []
    for slot, share in enumerate((0.5, 0.3, 0.2)):
        assert units.promise(slot, (("gpu", share),))
        given.append(units.begin(slot)["gpu"])
    assert given == [("a",)] * 3
    assert units.promise(3, (("gpu", 1.0),)) and units.begin(3) == {"gpu": ("b",)}
    assert not units.promise(4, (("gpu", 0.1),))


def test_more_than_one_unit_and_a_half_are_two() -> None:
    units = Units(GPUS)
    assert units.promise(0, (("gpu", 1.5),)) and units.begin(0) == {"gpu": ("0", "1")}


def test_a_fit_that_is_not_there_as_a_whole_takes_nothing() -> None:
    units = Units({"gpu": ("0", "1"), "licence": ("x",)})
    assert not units.promise(0, (("gpu", 2.0), ("licence", 2.0)))
    assert units.promise(1, (("gpu", 2.0), ("licence", 1.0)))


Amounts = st.sampled_from((0.25, 0.5, 1.0, 2.0, 3.0))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(("promise", "begin", "end")), st.integers(0, 4), Amounts), max_size=40))
def test_no_unit_is_ever_taken_more_than_once(steps: list[tuple[str, int, float]]) -> None:
    units = Units(GPUS)
    living: dict[int, list[tuple[str, float]]] = {}
    promised: dict[int, float] = {}
    for what, slot, amount in steps:
        if what == "promise" and units.promise(slot, (("gpu", amount),)):
            promised[slot] = amount
        elif what == "begin" and slot not in living:
            share = min(1.0, promised.pop(slot, 0.0))
            living[slot] = [(unit, share) for unit in units.begin(slot).get("gpu", ())]
        elif what == "end":
            units.end(slot)
            living.pop(slot, None)
        units.validate()
        for unit in GPUS["gpu"]:
            taken = sum(share for held in living.values() for name, share in held if name == unit)
            assert taken <= 1.0, f"unit {unit} is in processes with shares of {taken}"


# What is offered and told ---------------------------------------------------------------------------------------------


def test_a_whole_number_of_gpus_and_lists_of_names_are_indexed() -> None:
    amounts, units = offer_of({"gpu": 2, "memory": 64, "licence": ["a", "b"]}, None)
    assert amounts == {"gpu": 2.0, "memory": 64.0, "licence": 2.0}
    assert units == {"gpu": ("0", "1"), "licence": ("a", "b")}
    assert offer_of({"gpu": 0.5}, None) == ({"gpu": 0.5}, {})
    assert offer_of({"gpu": ["3"]}, "7,8") == ({"gpu": 1.0}, {"gpu": ("3",)})


def test_counted_gpus_are_those_that_the_broker_itself_may_see() -> None:
    assert offer_of({"gpu": 2}, "4,7, 9")[1] == {"gpu": ("4", "7")}
    with pytest.raises(ConfigError, match="2 gpu are more than this Broker sees; CUDA_VISIBLE_DEVICES names none"):
        offer_of({"gpu": 2}, "")


@pytest.mark.parametrize("named", [[], ["0", "0"], "01", [""], ["0,1"]])
def test_units_without_names_of_their_own_are_refused(named: list[str]) -> None:
    with pytest.raises(ConfigError, match="the units of 'gpu' are different names"):
        offer_of({"gpu": named}, None)


def test_a_name_whose_variable_means_something_else_is_refused() -> None:
    with pytest.raises(ConfigError, match="HEADRACE_API has a meaning already"):
        offer_of({"api": ["0"]}, None)


def test_a_process_is_told_its_units_by_its_environment() -> None:
    told = environment({"gpu": ("0", "3"), "usb-key": ("left",)})
    assert told == {"HEADRACE_GPU": "0,3", "CUDA_VISIBLE_DEVICES": "0,3", "HEADRACE_USB_KEY": "left"}
