"""Helpers of these tests stand in modules beside them; a warden has all the time that a loaded machine may need."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def patience_with_the_warden(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is killed because it is slow leaves behind what only it knew of."""
    monkeypatch.setattr("headrace.workers.pools.local.WARDEN_PATIENCE", 60.0)
