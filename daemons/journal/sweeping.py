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
    """One slice of one pruned run, and the answers that are too old. Inside a transaction."""
    connection.execute("DELETE FROM answers WHERE at < ?", (now - REMEMBERED,))
    row = connection.execute("SELECT number FROM sweeps LIMIT 1").fetchone()
    if row is not None:
        _sweep_run(connection, row[0])


def _sweep_run(connection: sqlite3.Connection, number: int) -> None:
    chosen = "SELECT seq FROM facts INDEXED BY facts_by_run WHERE run = ? ORDER BY seq LIMIT ?"
    gone = connection.execute(f"DELETE FROM facts WHERE seq IN ({chosen})", (number, SLICE)).rowcount
    connection.execute("UPDATE meta SET value = value + ? WHERE name = 'pruned'", (gone,))
    if gone < SLICE:
        connection.execute("DELETE FROM inputs WHERE number = ?", (number,))
        connection.execute("DELETE FROM sweeps WHERE number = ?", (number,))
