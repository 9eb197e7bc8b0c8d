"""What a Router says of a configuration that cannot be, before it touches anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headrace.daemons.router import Router
from headrace.pipeline.errors import ConfigError

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"stor": {}}, "unknown key 'stor'; known are"),
    ({"store": "Class"}, "'store' holds the keyword arguments of the StoreClass"),
    ({"limits": {"licence": -1}}, "limit 'licence' has to be a whole number from 0 on"),
    ({"monitoring interval": 0}, "'monitoring interval' has to be a number of seconds, more than 0, not 0"),
    ({"monitoring interval": -1.0}, "more than 0, not -1.0"),
    ({"monitoring interval": "1"}, "number of seconds"),
    ({"monitoring interval": True}, "number of seconds"),
    ({"monitoring interval": float("nan")}, "number of seconds"),
    ({"monitoring interval": float("inf")}, "number of seconds"),
    ({"keep": -1}, "'keep' has to be a number of seconds, 0 or more, not -1"),
]


@pytest.mark.parametrize(("config", "message"), WRONG, ids=[str(config) for config, _ in WRONG])
def test_a_wrong_setting_is_named_with_what_it_has_to_be(config: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        Router(config=config, data=tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "config", [{}, {"monitoring interval": 0.5}, {"monitoring interval": None}, {"keep": 0}, {"keep": None}]
)
def test_what_can_be_is_taken(config: dict[str, Any], tmp_path: Path) -> None:
    assert Router(config=config, data=tmp_path / "data").config == config
