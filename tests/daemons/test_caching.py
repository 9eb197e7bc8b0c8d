"""`headrace cache` without a cluster, and where a Broker has its cache."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from headrace.daemons.cli import commands
from headrace.daemons.config import BrokerConfig, load
from headrace.daemons.protocol import Welcome
from headrace.daemons.settings import size
from headrace.daemons.slots.outfit import Outfit
from headrace.pipeline.errors import ConfigError
from headrace.pipeline.recipe import Recipe
from headrace.stores.values import ValuesFolder
from headrace.workers.cache.entry import Entry
from headrace.workers.cache.folder import CacheFolder
from headrace.workers.cache.place import LARGEST, LONGEST, user_cache


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in a folder of its own, without anybody's settings."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("HEADRACE_")]:
        monkeypatch.delenv(name)
    return tmp_path


def filled(path: Path) -> CacheFolder:
    """Three entries: one is large, one is of another worker, one was not used for two days."""
    kept = CacheFolder(path)
    for worker, job, length, age in (
        ("encode", "Large", 100_000, 10),
        ("encode", "Old", 10, 2e5),
        ("cut", "Cut", 10, 0),
    ):
        recipe = Recipe(worker=worker, call=job)
        kept.put(Entry(key=recipe.key, recipe=recipe, run="r" * 32, job=job, duration=1.5), bytes(length), (job,))
        used = time.time() - age
        os.utime(kept.file(recipe.key), (used, used))
    return kept


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(commands, ["cache", *arguments], prog_name="headrace")
    assert result.exit_code == 0, result.output
    return str(result.stdout)


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(commands, ["cache", *arguments], prog_name="headrace")
    assert result.exit_code == 2, result.output
    return str(result.output)


# Listing and clearing -------------------------------------------------------------------------------------------------


def test_list_shows_what_was_used_last_first(folder: Path) -> None:
    filled(folder / "cache")
    lines = invoke("list", "--folder", "cache").splitlines()
    assert lines[0].split() == ["key", "worker", "job", "run", "size", "made", "in", "last", "used"]
    assert [line.split()[2] for line in lines[1:4]] == ["Cut", "Large", "Old"]
    assert lines[4].startswith("3 entries, ") and lines[4].endswith(str(folder / "cache"))
    assert len(invoke("list", "--folder", "cache", "--limit", "1").splitlines()) == 3
    assert [line.split()[2] for line in invoke("list", "--folder", "cache", "--worker", "cut").splitlines()[1:-1]] == [
        "Cut"
    ]


def test_list_as_json_has_everything(folder: Path) -> None:
    filled(folder / "cache")
    told = json.loads(invoke("list", "--folder", "cache", "--json"))
    assert (told["kind"], told["count"], told["damaged"]) == ("cache", 3, 0) and told["bytes"] > 100_000
    assert {one["job"]: one["worker"] for one in told["entries"]} == {"Large": "encode", "Old": "encode", "Cut": "cut"}
    assert all(one["duration"] == 1.5 and len(one["key"]) == 64 for one in told["entries"])


def test_clear_removes_what_is_old_of_a_worker_or_all(folder: Path) -> None:
    filled(folder / "cache")
    assert invoke("clear", "--folder", "cache", "--older", "1d", "--worker", "cut").startswith("0 entries")
    assert invoke("clear", "--folder", "cache", "--older", "1d").startswith("1 entries")
    assert json.loads(invoke("clear", "--folder", "cache", "--worker", "cut", "--json"))["removed"] == 1
    assert json.loads(invoke("clear", "--folder", "cache", "--json"))["bytes"] > 100_000
    assert invoke("list", "--folder", "cache").splitlines()[-1].startswith("0 entries, 0 bytes")


def test_the_folder_is_the_one_that_a_broker_here_would_use(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def used(*arguments: str) -> str:
        return str(json.loads(invoke("list", *arguments, "--json"))["folder"])

    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "user"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "caches"))
    monkeypatch.setattr("sys.platform", "linux")
    assert used() == str(folder / "user/headrace/5555/cache")
    assert used("--api", "tcp://127.0.0.1:6000") == str(folder / "user/headrace/6000/cache")
    assert used("--data", "mine") == str(folder / "mine/cache")
    assert used("--local") == str(user_cache(platform="linux")) == str(folder / "caches/headrace")
    (folder / "headrace.toml").write_text('data = "theirs"\n')
    assert used() == str(folder / "theirs/cache")
    (folder / "headrace.toml").write_text('data = "theirs"\n[broker]\ncache = "fast"\n')
    assert used() == str(folder / "fast")
    assert used("--data", "mine") == str(folder / "mine/cache")
    monkeypatch.setenv("HEADRACE_CACHE", str(folder / "named"))
    assert used() == used("--local") == str(folder / "named")


def test_what_makes_no_sense_is_refused(folder: Path) -> None:
    assert "needs the ID of a run" in refused("explain")
    assert "takes no run" in refused("list", "3f9a")
    assert "belongs to `clear`" in refused("list", "--older", "1d")
    assert "has to be a duration" in refused("clear", "--older", "soon")


# Settings of a Broker -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw, number",
    [
        ("500MB", 500_000_000),
        ("10GiB", 10 * 2**30),
        ("1.5 kib", 1536),
        ("0", 0),
        (2048, 2048),
        ("64", 64),
        ("2tb", 2 * 10**12),
    ],
)
def test_sizes_may_have_a_unit(raw: object, number: int) -> None:
    assert size(raw) == number


@pytest.mark.parametrize("raw", ["", "much", "-1", "10 GX", True, None, "1e999"])
def test_other_texts_are_no_sizes(raw: object) -> None:
    with pytest.raises(ValueError, match="number of bytes"):
        size(raw)


def test_the_settings_have_defaults_and_are_read_from_everywhere(folder: Path) -> None:
    made = load(BrokerConfig, environ={}).config
    assert (made.cache, made.cache_size, made.cache_keep) == (None, LARGEST, LONGEST)
    made = load(BrokerConfig, {"cache": "here"}, {"HEADRACE_CACHE_SIZE": "1GB", "HEADRACE_CACHE_KEEP": "2d"}).config
    assert (made.cache, made.cache_size, made.cache_keep) == (str(folder / "here"), 10**9, 2 * 86400.0)
    with pytest.raises(ConfigError, match="'cache-size' has to be a number of bytes"):
        load(BrokerConfig, {"cache_size": "huge"}, {})


def outfit_of(folder: Path, welcome: Welcome, cache: str | None = None) -> Any:
    outfit = Outfit(("workers",), None, folder / "broker", cache, 1000, 60.0)
    outfit.welcome(welcome)
    return outfit.settings


def test_a_broker_that_sees_the_routers_values_shares_the_cache_beside_them(folder: Path) -> None:
    values = ValuesFolder(folder / "router" / "values")
    seen = Welcome(values=str(values.path), values_id=values.id)
    settings = outfit_of(folder, seen)
    assert settings.cache == str(folder / "router" / "cache")
    assert (settings.cache_size, settings.cache_keep) == (1000, 60.0)
    assert outfit_of(folder, seen, str(folder / "fast")).cache == str(folder / "fast")


def test_a_broker_that_does_not_see_them_has_a_cache_of_its_own(folder: Path) -> None:
    values = ValuesFolder(folder / "router" / "values")
    other = Welcome(values=str(values.path), values_id="0" * 32)
    for welcome in (other, Welcome(values="/nowhere/values", values_id="0" * 32), Welcome()):
        assert outfit_of(folder, welcome).cache == str(folder / "broker" / "cache")
