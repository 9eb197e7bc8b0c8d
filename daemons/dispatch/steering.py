"""Steering: what stops and what goes on. Runs are cancelled and paused, roles and the whole cluster are paused.

Each is durable, and done once: a repeat finds it done. What runs is stopped by a cancel only; a pause keeps what has
not begun from beginning, also what waits in the pipe of a Broker by then.
"""

from __future__ import annotations

from ...pipeline.facts import Cancelled, Paused, Switched
from ...pipeline.subruns import OVERDUE
from ..protocol import Control, Done, Failed
from .cluster import Answer, Cluster
from .leasing import Leasing
from .queues import Shape
from .replies import BUSY_PAUSE, remembered
from .runs import OpenRun
from .tracking import Tracking


class Steering:
    def __init__(self, cluster: Cluster, leasing: Leasing, tracking: Tracking) -> None:
        self.cluster = cluster
        self.leasing = leasing
        self.tracking = tracking

    def cancel(self, run: OpenRun, reason: str, answer: Answer | None = None) -> None:
        """Durable, once: what is queued ends now, what runs is stopped, hooks still come. When the verdict is fixed
        already only they are left: then it is they that are stopped, and that is all."""
        ending = run.ending is not None
        if run.shortened or (run.cancelled is not None and not ending):
            return
        run.control += 1
        if ending:
            run.shortened = True
        else:
            run.cancelled = reason
        self.cluster.record(run, Cancelled(self.cluster.wall, run.control, reason), answer=answer)
        self.leasing.stop(run, [item.key for item in run.live.values() if ending or not item.ready.hook])
        if not run.active:
            run.active = True
            self.tracking.assign(run)

    def pause(self, run: OpenRun, on: bool, answer: Answer | None = None) -> None:
        if run.paused != on or answer is not None:  # what changes nothing now must not do so when it is repeated
            run.paused = on
            self.cluster.record(run, Paused(self.cluster.wall, run.control, on), answer=answer)
            if on:
                self.leasing.ask_back(lambda item: item.run.pausing() is run)
            else:
                self._wake(run)

    def switch(self, client: str, message: Control) -> None:
        """Pause a role or the cluster, or let it go on."""
        cluster, role, on = self.cluster, message.argument, message.verb == "pause"
        if cluster.stalled:
            cluster.send(client, Failed(message.id, "busy", cluster.stalled, BUSY_PAUSE))
            return
        if role is not None and not role.strip():
            cluster.send(
                client, Failed(message.id, "invalid", f"{message.verb} needs the name of a role, not {role!r}")
            )
            return
        done = Done(message.id, "paused" if on else "running")
        if cluster.queues.switches.is_on(role) != on:
            cluster.queues.turn(role, on)
            cluster.record(None, Switched(role, on, cluster.wall), answer=remembered(message, done))
            if on:
                self.leasing.ask_back(lambda item: bool(cluster.queues.switches.keeps(Shape.of(item.ready).role)))
        cluster.send(client, done)

    def _wake(self, run: OpenRun) -> None:
        self.cluster.queues.wake(run)
        for child in run.below.values():
            self._wake(child)

    def overdue(self, run: OpenRun) -> None:
        """A deadline has come: of this round, or of one before it."""
        limit = run.options.deadline
        if limit is not None and run.ending is None and self.cluster.now >= run.started + limit:
            self.cancel(run, OVERDUE)
