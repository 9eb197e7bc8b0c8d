"""`headrace logs`: what the attempts of a run wrote to their output."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from ...pipeline.errors import NotFound
from ..config import ClientConfig
from .connecting import connect, run_argument
from .options import command, json_option, settings
from .printing import print_json, say

if TYPE_CHECKING:
    from ...pipeline.facts import Fact, Returned


@command("logs", "headrace logs 3f9a", "headrace logs 3f9a Encode", "headrace logs 3f9a --json")
@run_argument
@click.argument("job", required=False)
@json_option
@settings(ClientConfig)
def logs_command(run: str, job: str | None, as_json: bool, **given: Any) -> None:
    """Print what the attempts of a run have written.

    That is their standard output, standard error and logging. It stays on the machine that ran the attempt; on
    another machine this says where it is.
    """
    with connect(given) as cluster:
        found = cluster.find(run)
        attempts = list(_attempts(cluster.facts(found), job))
    if job is not None and not attempts:
        raise NotFound("ended attempt of job", job, f"`headrace show {run}` lists the jobs")
    logs = [_log(fact) for fact in attempts]
    if as_json:
        print_json("logs", {"id": found, "logs": logs})
        return
    for log in logs:
        _print_log(log)


def _attempts(facts: Iterable[tuple[int, Fact]], job: str | None) -> Iterable[Returned]:
    from ...pipeline.facts import Returned

    return (fact for _, fact in facts if isinstance(fact, Returned) and job in (None, fact.job))


def _log(fact: Returned) -> dict[str, Any]:
    file, offset, length = fact.log or ("", 0, 0)
    text, missing = read_part(file, offset, length)
    if missing and fact.error is not None and fact.error.log_tail:
        text = fact.error.log_tail
        missing = f"only its end is here: {missing}"
    return {
        "job": fact.job,
        "path": list(fact.path),
        "attempt": fact.attempt,
        "end": fact.kind,
        "place": fact.place,
        "file": file,
        "offset": offset,
        "length": length,
        "text": text,
        "missing": missing,
    }


def read_part(file: str, offset: int, length: int) -> tuple[str, str]:
    """(text, why it is not here)."""
    if not length:
        return "", ""
    try:
        with open(file, "rb") as opened:
            opened.seek(offset)
            return opened.read(length).decode("utf-8", "replace"), ""
    except OSError as error:
        return "", f"{file} cannot be read here: {error.strerror or error}"


def _print_log(log: dict[str, Any]) -> None:
    branch = str(log["path"]) if log["path"] else ""
    say(f"==> {log['job']}{branch}, attempt {log['attempt']}, {log['end']}, {log['place']} <==")
    if log["missing"]:
        say(f"({log['missing']})")
    if log["text"]:
        say(log["text"].rstrip("\n"))
