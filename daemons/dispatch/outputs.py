"""Output on its way: what clients want to read of an attempt's output lies with the Broker that ran it.

A request is passed on to that Broker, or to another one of its machine when the attempt has ended, and the answer is
passed back. Nothing is kept but who asked; what is not answered for so long is asked anew by the client.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from msgspec.structs import replace

from ..protocol import Output, ReadOutput
from .cluster import Cluster
from .members import BrokerMember

UNDER_WAY = 1000
"""Requests that may be open; of more, the oldest is forgotten."""


class Outputs:
    """`here`: reads files of this machine, when no Broker of it is connected."""

    def __init__(self, cluster: Cluster, host: str, here: Callable[[ReadOutput], Output]) -> None:
        self._cluster = cluster
        self._host = host
        self._here = here
        self._asked: dict[str, tuple[str, str]] = {}
        """The client and its request, by the id under which it was passed on."""
        self._numbers = count(1)

    def read(self, client: str, wanted: ReadOutput) -> None:
        """Pass it on, or say why not."""
        run = self._cluster.runs.get(wanted.run)
        item = run.live.get((wanted.job, wanted.path)) if run else None
        if wanted.file:
            self._read_file(client, wanted)
        elif item is None or item.ready.attempt != wanted.attempt:
            self._cluster.send(client, Output(wanted.id))
        elif item.broker is None:
            self._cluster.send(client, Output(wanted.id, runs=True))
        else:
            self._pass_on(client, wanted, item.broker, item.lease)

    def _read_file(self, client: str, wanted: ReadOutput) -> None:
        host = _host(wanted.place)
        if broker := self._broker_at(wanted.place):
            self._pass_on(client, wanted, broker, 0)
        elif host == self._host:
            self._cluster.send(client, self._here(wanted))
        else:
            why = f"it is on {host or 'an unknown machine'} in {wanted.file}, and no Broker is connected from there"
            self._cluster.send(client, Output(wanted.id, missing=why))

    def told(self, answer: Output) -> None:
        """Pass it back to who asked, if that is still known."""
        if asked := self._asked.pop(answer.id, None):
            client, request = asked
            self._cluster.send(client, replace(answer, id=request))

    def _pass_on(self, client: str, wanted: ReadOutput, broker: BrokerMember, lease: int) -> None:
        name = f"{next(self._numbers)}"
        self._asked[name] = client, wanted.id
        if len(self._asked) > UNDER_WAY:
            del self._asked[next(iter(self._asked))]
        self._cluster.send(broker.identity, replace(wanted, id=name, lease=lease))

    def _broker_at(self, place: str) -> BrokerMember | None:
        """The Broker that ran it, else one of the same machine."""
        host = _host(place)
        near = [one for one in self._cluster.brokers.values() if host and _host(one.place) == host]
        return next((one for one in near if one.place == place), near[0] if near else None)


def _host(place: str) -> str:
    return place.partition("/")[0]
