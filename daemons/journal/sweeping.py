"""What is not needed any more goes in slices, between commits, so that no commit waits for a large run to be deleted.

A pruned run has its tombstone already; its facts are only out of reach, and counted as pruned once they are gone.
"""

from __future__ import annotations

import sqlite3

REMEMBERED = 24 * 3600.0
"""Seconds that the answers to requests are kept."""
SLICE = 1000
"""Facts that are deleted in one transaction."""


def anything_to_sweep(connection: sqlite3.Connection, now: float) -> bool:
    pruned = connection.execute("SELECT 1 FROM sweeps LIMIT 1").fetchone()
    stale = connection.execute("SELECT 1 FROM answers WHERE at < ? LIMIT 1", (now - REMEMBERED,)).fetchone()
    return pruned is not None or stale is not None


def sweep_slice(connection: sqlite3.Connection, now: float) -> None:
    """One slice of what pruned runs have left, and the answers that are too old. Inside a transaction: many small runs
    go together, because every transaction is one sync."""
    connection.execute("DELETE FROM answers WHERE at < ?", (now - REMEMBERED,))
    left = SLICE
    while left > 0 and (row := connection.execute("SELECT number FROM sweeps LIMIT 1").fetchone()) is not None:
        left -= _sweep_run(connection, row[0], left) + 1


def _sweep_run(connection: sqlite3.Connection, number: int, most: int) -> int:
    """The number of facts of this run that are gone now; all of them when there are fewer than may go."""
    chosen = "SELECT seq FROM facts INDEXED BY facts_by_run WHERE run = ? ORDER BY seq LIMIT ?"
    gone = connection.execute(f"DELETE FROM facts WHERE seq IN ({chosen})", (number, most)).rowcount
    connection.execute("UPDATE meta SET value = value + ? WHERE name = 'pruned'", (gone,))
    if gone < most:
        connection.execute("DELETE FROM inputs WHERE number = ?", (number,))
        connection.execute("DELETE FROM sweeps WHERE number = ?", (number,))
    return gone
