"""The results of a run, read value by value: small ones come inline, large ones by reference and in chunks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...pipeline.errors import NotFound
from ...pipeline.facts import Path
from ...pipeline.payload import unpack
from ...pipeline.task import Given, Want
from .conversation import Conversation, Flow
from .reading import read_snapshot

Values = dict[str, list[tuple[Path, Any]]]


def read_results(conversation: Conversation, run: str) -> Flow[dict[str, Any]]:
    """By job name: what each job that has succeeded so far returned, below a spread a list in index order."""
    taken = yield from read_snapshot(conversation, run)
    plan = taken.progress.plan
    branched = {plan.names[at] for at in plan.jobs() if plan.base.get(at) or not plan.is_single(at)}
    details = [detail for detail in taken.progress.job_details() if not detail.hook]
    jobs = [detail.name for detail in details if detail.instances.get("success")]
    values = yield from read_values(conversation, taken.id, jobs)
    results: dict[str, Any] = {}
    for detail in details:
        found = values.get(detail.name, [])
        if detail.name in branched:
            results[detail.name] = [value for _, value in found]
        elif found:
            results[detail.name] = found[0][1]
    return results


def read_values(conversation: Conversation, run: str, jobs: Iterable[str]) -> Flow[Values]:
    """Per job the values of its instances that have succeeded, with their paths, in index order."""
    values: Values = {job: [] for job in jobs}
    references: list[tuple[str, int, str]] = []
    wanted = [Want(run, job=job, many=True) for job in values]

    def settle(want: Want, given: Given) -> None:
        for path, kind, packed, reference in given.values:
            if kind != "success":
                continue
            if packed is None and reference is not None:
                references.append((want.job, len(values[want.job]), reference))
            values[want.job].append((path, None if packed is None else unpack(packed)))
        if given.next is not None:
            wanted.append(Want(run, job=want.job, many=True, offset=given.next))

    while wanted:
        asked, wanted = wanted, []
        yield from conversation.fetch(asked, settle)
    for job, at, reference in references:
        packed = yield from read_large(conversation, run, reference)
        values[job][at] = (values[job][at][0], unpack(packed))
    return values


def read_large(conversation: Conversation, run: str, reference: str) -> Flow[bytes]:
    """A value from the values folder, through the Router, chunk by chunk."""
    chunks: list[bytes] = []
    offset: int | None = 0
    while offset is not None:
        given = yield from conversation.fetch_one(Want(run, "value", ref=reference, offset=offset))
        if given.missing:
            raise NotFound("value", reference, given.missing)
        chunks += [packed for _, _, packed, _ in given.values if packed is not None]
        offset = given.next
    return b"".join(chunks)
