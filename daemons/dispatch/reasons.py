"""Why something is not running, in words: for `explain`, for `show`, and for whoever waited too long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

from ...pipeline.requirement import wanted
from .items import Item, State
from .queues import Lane, RunQueue, Shape

if TYPE_CHECKING:
    from .cluster import Cluster
    from .members import BrokerMember
    from .promises import Promise

NAMED = 3
"""Things that are named one by one; of more there is a number."""


def why_waiting(cluster: Cluster, item: Item) -> str:
    """Why an item that is held or queued does not run."""
    if why := item.run.why_blocked():
        return why
    if why := cluster.queues.switches.keeps(Shape.of(item.ready).role):
        return why
    if item.state is State.HELD:
        return _why_held(cluster, item)
    why = why_queued(cluster, Shape.of(item.ready), item.queue)
    given = [_promised(cluster, name, promise) for name, promise in cluster.queues.promises.given(item)]
    return f"{_few(given)}; {why}" if given else why


def _why_held(cluster: Cluster, item: Item) -> str:
    left = item.since + item.ready.delay - cluster.now
    if left > 0:
        attempt = f", as attempt {item.ready.attempt}" if item.ready.attempt > 1 else ""
        return f"it is to start in {left:.1f} s{attempt}"
    until = max(0.0, cluster.began_at + cluster.rules.hand_on - cluster.now)
    return f"after the Router's restart, a Broker that has not come back may still run it: for {until:.1f} s at most"


def _promised(cluster: Cluster, name: str, promise: Promise) -> str:
    """What an item is promised."""
    broker = cluster.brokers.get(name)
    what = f"the next place on {broker.place}" if broker is not None else f"the limit {name}"
    return f"{what} is promised to it, for {cluster.now - promise.made:.1f} s now"


def why_queued(cluster: Cluster, shape: Shape, queue: RunQueue | None = None) -> str:
    """Why nothing of this shape is granted, or nothing that waits in this queue."""
    queues, brokers = cluster.queues, list(cluster.brokers.values())
    limits = queues.counted(shape)
    unknown = [name for name in limits if name not in queues.limits]
    if unknown:
        return f"the Router has no limit named {', '.join(unknown)}"
    if not brokers:
        return "no Broker is connected"
    lane = Lane(shape)
    able = [broker for broker in brokers if broker.serves(lane)]
    if not able:
        return f"no Broker offers {shape}; {_closest(brokers, shape)}"
    full = [f"{name} ({queues.used[name]} of {queues.limits[name]})" for name in limits if queues.taken(name)]
    if full:
        return f"the limit {', '.join(full)} is taken{_held_by(brokers, limits)}"
    if all(broker.draining for broker in able):
        return f"every Broker that could run it is draining: {_few(broker.place for broker in able)}"
    held = queues.promises.holds(queue) if queue is not None else None
    if held is not None:
        name, promise = held
        return f"the limit {name} ({queues.used[name]} of {queues.limits[name]}) is {_kept(cluster, promise)}"
    return _why_busy(cluster, able, queue)


def _why_busy(cluster: Cluster, able: list[BrokerMember], queue: RunQueue | None) -> str:
    promises = cluster.queues.promises
    kept = {broker.place: promises.keeps(broker, queue) for broker in able} if queue is not None else {}
    loads = [_load(broker) for broker in able if kept.get(broker.place) is None]
    places = [f"{place} is {_kept(cluster, promise)}" for place, promise in kept.items() if promise is not None]
    if not places:
        return f"every Broker that could run it is busy: {_few(loads)}"
    return f"every Broker that could run it is busy, or keeps its next place: {_few([*places, *loads])}"


def _kept(cluster: Cluster, promise: Promise) -> str:
    """For whom something is kept, and since when."""
    shape, seconds = promise.lane.shape, cluster.now - promise.made
    needs = ", ".join([str(shape), *(f"limit {name}" for name in shape.limits)])
    return f"promised to {_named(promise.item)}, which needs {needs}, for {seconds:.1f} s now"


def _named(item: Item) -> str:
    return f"{item.ready.job}{list(item.ready.path) or ''} of run {item.run.id[:8]}"


def _load(broker: BrokerMember) -> str:
    return f"{broker.place} runs {len(broker.leases)} on {broker.card.slots} slots"


def _held_by(brokers: Iterable[BrokerMember], limits: Iterable[str]) -> str:
    wanted_limits = set(limits)
    holders = [
        f"{_named(item)} on {broker.place}"
        for broker in brokers
        for item in broker.leases.values()
        if item.ready.needs is not None and wanted_limits.intersection(item.ready.needs.limits)
    ]
    return f" by {_few(holders)}" if holders else ""


def _closest(brokers: list[BrokerMember], shape: Shape) -> str:
    """What the Brokers lack that come closest."""
    able = [broker for broker in brokers if shape.worker in broker.workers]
    if not able:
        names = sorted({name for broker in brokers for name in broker.workers if not name.startswith("!")})
        near = get_close_matches(shape.worker, names, 3, 0.6)
        if near:
            return f"the closest that the connected ones have: {', '.join(near)}"
        shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        return f"the connected ones have {shown or 'no workers'}"
    lacks = {broker.place: _lacks(broker, shape) for broker in able}
    least = min(len(some) for some in lacks.values())
    closest = [(place, "; ".join(some)) for place, some in lacks.items() if len(some) == least]
    return f"the closest: {_few(f'{place} ({why})' for place, why in closest)}"


def _lacks(broker: BrokerMember, shape: Shape) -> list[str]:
    """What a Broker with this worker does not offer."""
    found: list[str] = []
    roles = broker.card.roles
    if shape.role is not None and roles is not None and not wanted(shape.role).met_by(roles):
        found.append(f"it serves {', '.join(sorted(roles)) or 'no role'}, not {shape.role}")
    for name, amount in shape.resources:
        offered = broker.card.resources.get(name, 0.0)
        if offered < amount:
            found.append(f"it has {offered:g} {name}, not {amount:g}")
    return found


def _few(texts: Iterable[str]) -> str:
    """The first of them; the same text is said once, with its number."""
    counted = Counter(texts)
    shown = [text if times == 1 else f"{text} ({times} times)" for text, times in counted.items()]
    rest = len(shown) - NAMED
    return ", ".join(shown[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
