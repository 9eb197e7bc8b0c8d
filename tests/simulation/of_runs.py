"""Guards of runs, of their Pipeliners and of those who ask for them, taken away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from headrace.daemons import charges
from headrace.daemons import router as router_module
from headrace.daemons.dispatch import (
    admission,
    below,
    cluster,
    outbox,
    pruning,
    runs,
    tracking,
)
from headrace.daemons.dispatch.effects import Send
from headrace.daemons.dispatch.items import State
from headrace.daemons.protocol import Noted

from . import stores
from .changes import Change, nothing, wrap


def send_before_commit() -> list[Change]:
    def make(real: Any) -> Any:
        def put(self: Any, effects: Any) -> Any:
            effects = list(effects)
            early = [effect for effect in effects if isinstance(effect, Send)]
            records, now = real(self, [effect for effect in effects if not isinstance(effect, Send)])
            return records, early + now

        return put

    return wrap(outbox.Outbox, "put", make)


def note_before_commit() -> list[Change]:
    def make(real: Any) -> Any:
        def send(self: Any, peer: str, message: Any) -> None:
            (self.send_now if isinstance(message, Noted) else lambda *one: real(self, *one))(peer, message)

        return send

    return wrap(cluster.Cluster, "send", make)


def any_take() -> list[Change]:
    def make(real: Any) -> Any:
        def spoken_for(self: Any, peer: str, session: str, run_id: str, take: int) -> Any:
            run = self.cluster.runs.get(run_id)
            if run is not None and peer in self.cluster.pipeliners:
                return run
            return real(self, peer, session, run_id, take)

        return spoken_for

    return wrap(tracking.Tracking, "spoken_for", make)


def conclude_unseen() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda self, run, message: real(self, run, msgspec.structs.replace(message, seen=run.last))

    return wrap(tracking.Tracking, "conclude", make)


def conclude_alive() -> list[Change]:
    def make(real: Any) -> Any:
        def conclude(self: Any, run: Any, message: Any) -> None:
            live, run.live = run.live, {}
            real(self, run, message)
            if run.id in self.cluster.runs:
                run.live = live
            for item in live.values() if run.id not in self.cluster.runs else ():
                if item.leased:
                    self.leasing._unlease(item)
                elif item.state is State.QUEUED:
                    self.cluster.queues.leave(item)

        return conclude

    return wrap(tracking.Tracking, "conclude", make)


def old_control() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda self, run, message: real(self, run, msgspec.structs.replace(message, control=run.control))

    return wrap(tracking.Tracking, "enqueue", make)


def drops_that_cross() -> list[Change]:
    """Nobody remembers that a Pipeliner was just told to drop a run that it greets with again."""

    def make(real: Any) -> Any:
        def greet(self: Any, peer: str, *rest: Any) -> None:
            if peer in self.cluster.pipeliners:
                self.cluster.pipeliners[peer].refused.clear()
            real(self, peer, *rest)

        return greet

    return wrap(tracking.Tracking, "greet", make)


def value_later() -> list[Change]:
    def write(self: Any, execution: Any, value: bytes) -> str:
        one = execution.assignment
        ref = f"{one.run}/{one.job}/{one.fence}"
        if not one.lease % 2:  # half of them never reach the disk
            self.values[ref] = value
        return ref

    return [(stores.Stores, "write", write)]


def repeat_after_all() -> list[Change]:
    return [(router_module.Router, "_remembered", nothing)]


def remember_too_early() -> list[Change]:
    def make(real: Any) -> Any:
        def handle(self: Any, turn: Any, peer: str, session: str, message: Any, member: bool, now: float) -> None:
            before = self._dispatch.cluster.send
            if isinstance(message, router_module.Control) and self._remembered(message) is not None:
                self._dispatch.cluster.send = turn.reply
            try:
                real(self, turn, peer, session, message, member, now)
            finally:
                self._dispatch.cluster.send = before

        return handle

    return wrap(router_module.Router, "_handle", make)


def hand_on_early() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda self, epoch, last, rules, *more: real(self, epoch, last, replace(rules, hand_on=5.0), *more)

    return wrap(cluster.Cluster, "__init__", make)


def requests_run_anew() -> list[Change]:
    def make(real: Any) -> Any:
        def accept(self: Any, client: str, one: Any, follow: bool, known: Any, keys: Any) -> Any:
            return real(self, client, one, follow, {}, keys)

        return accept

    return wrap(admission.Admission, "_accept", make)


def no_delay() -> list[Change]:
    def make(real: Any) -> Any:
        def enqueue(self: Any, run: Any, message: Any) -> None:
            ready = [msgspec.structs.replace(one, delay=0.0) for one in message.ready]
            real(self, run, msgspec.structs.replace(message, ready=ready))

        return enqueue

    return wrap(tracking.Tracking, "enqueue", make)


def forgets_the_backlog() -> list[Change]:
    def make(real: Any) -> Any:
        def loaded(self: Any, run_id: str, *more: Any) -> None:
            if run_id in self.cluster.runs:
                self.cluster.runs[run_id].backlog = []
            real(self, run_id, *more)

        return loaded

    return wrap(tracking.Tracking, "loaded", make)


def tells_watchers_too_early() -> list[Change]:
    def make(real: Any) -> Any:
        def turn(self: Any) -> None:
            put = self._committer.put

            def published(number: int, batch: Any) -> None:
                put(number, batch)
                self._events.publish(batch)

            self._committer.put = published
            try:
                real(self)
            finally:
                self._committer.put = put

        return turn

    return wrap(router_module.Router, "_turn", make)


def values_go_first() -> list[Change]:
    def make(real: Any) -> Any:
        def new(self: Any, runs: list[str]) -> Any:
            found = real(self, runs)
            self._gone.extend(found)
            return found

        return new

    return wrap(pruning.Pruning, "_new", make)


def any_window() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda self, take: real(self, msgspec.structs.replace(take, window=2000))

    return wrap(charges.Charges, "_take", make)


def below_everything(plan: Any, at: int) -> set[int]:
    return set(range(len(plan.nodes)))


def cancels_above_only() -> list[Change]:
    def stop(self: Any, item: Any) -> None:
        item.step("stop")

    return [(below.Below, "stop", stop)]


def pauses_above_only() -> list[Change]:
    def pausing(self: Any) -> Any:
        return self if self.paused and self.cancelled is None else None

    return [(runs.OpenRun, "pausing", pausing)]


def time_is_above_only() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda inside, title, priority, timeout: real(inside, title, priority, None)

    return wrap(below, "child_options", make)


def priority_is_above_only() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda inside, title, priority, timeout: real(inside, title, 0, timeout)

    return wrap(below, "child_options", make)


def any_attempts_run() -> list[Change]:
    def make(real: Any) -> Any:
        def found(self: Any, asked: Any, run: Any, known: Any) -> None:
            if run is not None and run.parent is not None:
                run.parent = msgspec.structs.replace(run.parent, attempt=asked.attempt)
            real(self, asked, run, known)

        return found

    return wrap(below.Below, "found", make)


def opens_again() -> list[Change]:
    def make(real: Any) -> Any:
        def found(self: Any, asked: Any, run: Any, known: Any) -> None:
            if run is not None and known is not None and run.parent is not None and known.verdict == "success":
                known = msgspec.structs.replace(known, verdict="failed")
                run.parent = msgspec.structs.replace(run.parent, attempt=0)
            real(self, asked, run, known)

        return found

    return wrap(below.Below, "found", make)
