"""When a daemon is started again."""

from __future__ import annotations

import pytest

from headrace.daemons.restarts import CAP, STEADY, Again, GiveUp, Restarts, told


@pytest.fixture
def restarts() -> Restarts:
    made = Restarts()
    made.worked = True
    return made


def test_a_daemon_that_lived_long_is_started_again_at_once(restarts: Restarts) -> None:
    restarts.began("router", 100.0)
    assert restarts.ended("router", -9, 100.0 + STEADY) == Again(0.0)


def test_quick_deaths_wait_twice_as_long_each_time_up_to_a_cap(restarts: Restarts) -> None:
    delays = []
    for turn in range(80):
        restarts.began("broker", float(turn))
        answer = restarts.ended("broker", 1, turn + 0.5)
        assert isinstance(answer, Again)
        delays.append(answer.delay)
    assert delays[:4] == [0.2, 0.4, 0.8, 1.6]
    assert delays == sorted(delays)
    assert delays[-1] == CAP


def test_a_long_life_clears_the_record(restarts: Restarts) -> None:
    for _ in range(3):
        restarts.began("broker", 0.0)
        restarts.ended("broker", 1, 1.0)
    restarts.began("broker", 10.0)
    restarts.ended("broker", 1, 10.0 + STEADY)
    restarts.began("broker", 50.0)
    assert restarts.ended("broker", 1, 51.0) == Again(0.2)


def test_every_daemon_has_a_record_of_its_own(restarts: Restarts) -> None:
    for name in ("broker", "router"):
        restarts.began(name, 0.0)
    restarts.ended("broker", 1, 1.0)
    assert restarts.ended("router", 1, 1.0) == Again(0.2)


def test_wrong_settings_are_never_tried_again(restarts: Restarts) -> None:
    restarts.began("broker", 0.0)
    answer = restarts.ended("broker", 2, 1000.0)
    assert isinstance(answer, GiveUp)
    assert "broker refuses its settings" in answer.reason


def test_a_cluster_that_never_worked_is_given_up_after_three_quick_deaths() -> None:
    restarts = Restarts()
    answers = []
    for _ in range(3):
        restarts.began("router", 0.0)
        answers.append(restarts.ended("router", 1, 0.1))
    assert [type(answer) for answer in answers] == [Again, Again, GiveUp]


def test_the_end_of_a_process_is_told_in_words() -> None:
    assert (told(1), told(-9)) == ("exit code 1", "signal 9")
