"""`headrace logs`: what the attempts of a run have written, and with --follow what they are writing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from ..config import ClientConfig
from .connecting import connect, run_argument
from .options import command, json_option, settings
from .printing import print_json, say

if TYPE_CHECKING:
    from ..client.output import Piece
    from .asking import Cluster

Place = tuple[str, tuple[int, ...], int]


@command("logs", "headrace logs 3f9a", "headrace logs 3f9a Encode", "headrace logs 3f9a --follow")
@run_argument
@click.argument("job", required=False)
@click.option("-f", "--follow", is_flag=True, help="go on until the run has ended, with what is being written")
@click.option("--attempt", type=click.IntRange(1), metavar="N", help="only the attempts with this number")
@json_option
@settings(ClientConfig)
def logs_command(run: str, job: str | None, follow: bool, attempt: int | None, as_json: bool, **given: Any) -> None:
    """Print what the attempts of a run have written.

    That is their standard output, standard error and logging. It stays on the machine that ran the attempt, and is
    read through a Broker there. With --follow every line begins with its job, and with --json every line is one value.
    """
    with connect(given) as cluster:
        found = cluster.find(run)
        pieces = _chosen(cluster, found, job, attempt, follow)
        if follow:
            _follow(found, pieces, as_json)
            return
        logs = list(_whole(pieces))
    if as_json:
        print_json("logs", {"id": found, "logs": logs})
        return
    for log in logs:
        _print_log(log)


def _chosen(cluster: Cluster, run: str, job: str | None, attempt: int | None, follow: bool) -> Iterator[Piece]:
    pieces = cluster.logs(run, job, follow=follow)
    return (piece for piece in pieces if attempt in (None, piece.attempt))


def _whole(pieces: Iterator[Piece]) -> Iterator[dict[str, Any]]:
    """The attempts, each with all of its text, in the order of their ends."""
    texts: dict[Place, list[str]] = {}
    for piece in pieces:
        place = piece.job, piece.path, piece.attempt
        texts.setdefault(place, []).append(piece.text)
        if piece.end:
            yield {
                "job": piece.job,
                "path": list(piece.path),
                "attempt": piece.attempt,
                "end": piece.end,
                "place": piece.place,
                "text": "".join(texts.pop(place)),
                "missing": piece.missing,
            }


def _print_log(log: dict[str, Any]) -> None:
    branch = str(log["path"]) if log["path"] else ""
    say(f"==> {log['job']}{branch}, attempt {log['attempt']}, {log['end']}, {log['place']} <==")
    if log["missing"]:
        say(f"({log['missing']})")
    if log["text"]:
        say(log["text"].rstrip("\n"))


def _follow(run: str, pieces: Iterator[Piece], as_json: bool) -> None:
    """Whole lines, as they come; Ctrl-C ends the looking, not the run."""
    begun: dict[Place, str] = {}
    try:
        for piece in pieces:
            place = piece.job, piece.path, piece.attempt
            *lines, rest = (begun.pop(place, "") + piece.text).split("\n")
            if rest and not piece.end:
                begun[place] = rest
            for line in [*lines, rest] if rest and piece.end else lines:
                _print_line(run, piece, line, as_json)
            if piece.missing and not as_json:
                say(f"{_name(piece)} | ({piece.missing})")
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"run {run} goes on: `headrace logs -f {run[:8]}` shows more of it") from None


def _print_line(run: str, piece: Piece, line: str, as_json: bool) -> None:
    if as_json:
        told = {"job": piece.job, "path": list(piece.path), "attempt": piece.attempt, "line": line}
        print_json("log line", {"id": run, **told})
    else:
        say(f"{_name(piece)} | {line}")


def _name(piece: Piece) -> str:
    branch = str(list(piece.path)) if piece.path else ""
    again = f" (attempt {piece.attempt})" if piece.attempt > 1 else ""
    return f"{piece.job}{branch}{again}"
