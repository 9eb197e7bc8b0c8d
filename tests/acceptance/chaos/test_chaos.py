"""A slice of every campaign: `make chaos` is the whole of it. A few blows each, of seeds that are always the same."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import run as chaos
from campaign import Campaign
from damage import damaged
from figures import ELSEWHERE, SERVING, elsewhere, restart
from load import Load, Order, chain, poison
from overload import overload
from plant import Plant, until
from proof import prove
from proxy import Proxy

from headrace.pipeline.errors import ClusterError

BLOWS = 2
LONG = {"broker killed", "everything killed", "write or sync fails", "cancel storm", "wire refused", "disk full"}
"""One blow of these is enough for a slice."""
PATIENTLY = 3
"""This machine may be busy, so it gets more time than is promised; `make chaos` is strict."""
pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("campaign", chaos.CAMPAIGNS, ids=lambda campaign: campaign.name.replace(" ", "-"))
def test_nothing_is_lost_under_blows(campaign: Campaign, tmp_path: Path) -> None:
    if why := campaign.missing():
        pytest.skip(why)
    lenient = replace(campaign, bound=PATIENTLY * campaign.bound)
    report = lenient.run(tmp_path, first=1, count=1 if campaign.name in LONG else BLOWS)
    assert report.ok, str(report)


def test_a_damaged_journal_is_refused_or_whole(tmp_path: Path) -> None:
    report = damaged(tmp_path, first=1, count=60)
    assert report.ok, str(report)
    assert all(report.figures.values()), "each end occurs, or the harm is not what it should be"


def test_a_router_that_is_full_says_so_and_carries_out_what_it_has_taken(tmp_path: Path) -> None:
    report = overload(tmp_path, seconds=2.0, open_runs=3000)
    assert report.ok, str(report)


def test_a_router_with_many_open_jobs_serves_again_soon(tmp_path: Path) -> None:
    """A fifth of the jobs for which that is promised; and by its own time, because this machine may be busy."""
    report = restart(tmp_path, count=1, jobs=20_000)
    assert report.figures["the Router's own time in s"] <= SERVING, str(report)


def test_what_a_dead_broker_ran_runs_elsewhere(tmp_path: Path) -> None:
    report = elsewhere(tmp_path, count=1)
    assert report.times[0] <= PATIENTLY * ELSEWHERE, str(report)


# The proof can fail -----------------------------------------------------------------------------------------------


def _order(plant: Plant) -> Order:
    with Load(plant, 1, width=1, shapes=(chain,)) as load:
        until(lambda: load.check() or load.ended >= 1, "one order has ended")
        load.stop_filling()
        until(lambda: not load.open, "all have ended")
    plant.stop()
    return load.orders[0]


def test_the_proof_sees_what_is_lost_unsaved_or_comes_too_early(tmp_path: Path) -> None:
    with Plant(tmp_path) as plant:
        plant.staff(brokers=1)
        order = _order(plant)
    assert prove(plant.data, plant.marks, [order]) == []
    order.order = [(after, before) for before, after in order.order]
    assert any(problem.startswith("too early") for problem in prove(plant.data, plant.marks, [order]))
    order.order = []
    order.results = {next(iter(order.results)): {"number": -1}}
    assert any(problem.startswith("lost: job") for problem in prove(plant.data, plant.marks, [order]))
    order.results = {}
    order.places.add(("another", ()))
    assert any(problem.startswith("lost") for problem in prove(plant.data, plant.marks, [order]))
    order.places.discard(("another", ()))
    plant.marks.write_text("")
    assert any(problem.startswith("unsaved") for problem in prove(plant.data, plant.marks, [order]))
    stranger = poison(random.Random(1))
    stranger.pipeline.id = "0" * 32
    assert any(problem.startswith("lost: run") for problem in prove(plant.data, None, [stranger]))


def test_a_plant_knows_a_daemon_that_died_of_nothing_and_a_process_that_is_left(tmp_path: Path) -> None:
    with Plant(tmp_path) as plant:
        plant.staff(brokers=1)
        plant.joined(1)
        until(lambda: plant.orphans() == [], "every process belongs to a daemon")
        process = plant.processes.pop("pipeliner")
        until(lambda: plant.orphans() == [process.pid], "nobody knows the Pipeliner any more")
        process.kill()
        process.wait()
        plant.processes["pipeliner"] = process
        plant.check_alive()
        assert len(plant.problems) == 1 and "ended by itself" in plant.problems[0]
        plant.joined(1)


def test_a_proxy_stalls_trickles_and_cuts(tmp_path: Path) -> None:
    with Plant(tmp_path) as plant:
        plant.staff(brokers=1)
        plant.joined(1)
        with (
            Proxy(plant.api) as proxy,
            plant.manager(api=proxy.address) as patient,
            plant.manager(timeout=1.0, api=proxy.address) as hasty,
        ):
            patient.cluster()
            with proxy.trickling(7):
                patient.cluster()
            for ways in (("up",), ("down",), ("up", "down")):
                with proxy.stalling(*ways), pytest.raises(ClusterError):
                    hasty.cluster()
            patient.cluster()
            proxy.cut_soon(random.Random(1))
            patient.cluster()
            with proxy.shut(), pytest.raises(ClusterError):
                hasty.cluster()
            patient.cluster()
