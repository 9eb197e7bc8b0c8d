"""Settings: where they come from, which one counts, and what is said about a wrong one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.daemons import settings
from headrace.daemons.config import (
    SECTIONS,
    BrokerConfig,
    ClientConfig,
    PipelinerConfig,
    RouterConfig,
    fields_of,
    load,
    variable,
)
from headrace.daemons.folders import data_folder, default_data_folder, user_data_folder
from headrace.daemons.settings import as_text
from headrace.pipeline.errors import ConfigError


def write(folder: Path, text: str) -> Path:
    (folder / "headrace.toml").write_text(text, encoding="utf-8")
    return folder


def test_without_any_source_the_defaults_count(tmp_path: Path) -> None:
    loaded = load(RouterConfig, {}, {}, tmp_path)
    assert loaded.config == RouterConfig()
    assert set(loaded.origins.values()) == {"default"}


def test_flags_beat_the_environment_which_beats_the_file_which_beats_the_default(tmp_path: Path) -> None:
    write(tmp_path, 'api = "tcp://h:1"\nbroadcast = "tcp://h:1"\ngrace = 1\n')
    environ = {"HEADRACE_API": "tcp://h:2", "HEADRACE_BROADCAST": "tcp://h:2"}
    loaded = load(BrokerConfig, {"api": "tcp://h:3", "grace": None}, environ, tmp_path)
    assert (loaded.config.api, loaded.config.broadcast, loaded.config.grace) == ("tcp://h:3", "tcp://h:2", 1.0)
    assert loaded.origins["api"] == "flag --api"
    assert loaded.origins["broadcast"] == "environment HEADRACE_BROADCAST"
    assert loaded.origins["grace"] == str(tmp_path / "headrace.toml")
    assert loaded.origins["workers"] == "default"


def test_the_table_of_a_daemon_beats_the_top_of_the_file_for_that_daemon_alone(tmp_path: Path) -> None:
    write(tmp_path, 'log-level = "debug"\n[broker]\nlog-level = "error"\n')
    broker = load(BrokerConfig, {}, {}, tmp_path)
    assert broker.config.log_level == "error"
    assert broker.origins["log_level"].endswith("headrace.toml [broker]")
    assert load(PipelinerConfig, {}, {}, tmp_path).config.log_level == "debug"


def test_the_file_is_looked_for_in_the_current_folder_only(tmp_path: Path) -> None:
    write(tmp_path, 'log-level = "debug"\n')
    (tmp_path / "below").mkdir()
    assert load(RouterConfig, {}, {}, tmp_path / "below").config.log_level == "info"


def test_a_variable_names_another_file(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("grace = 3\n")
    environ = {"HEADRACE_CONFIG": str(tmp_path / "other.toml")}
    assert load(BrokerConfig, {}, environ, tmp_path / "..").config.grace == 3.0
    with pytest.raises(ConfigError, match="no such file"):
        load(BrokerConfig, {}, {"HEADRACE_CONFIG": str(tmp_path / "missing.toml")}, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("procesess = 4\n", r"no setting 'procesess'; did you mean 'processes'\?"),
        ("[broker]\nproceses = 4\n", r"\[broker\]: there is no setting 'proceses'; did you mean 'processes'\?"),
        ("log_level = 'debug'\n", r"did you mean 'log-level'\?"),
        ("[brokers_]\n", r"did you mean 'brokers'\?"),
        ("[router]\nprocesses = 4\n", "there is no setting 'processes'"),
        ("[client]\nxyzzy = 1\n", "known are answer-timeout, api, broadcast"),
        ("router = 5\n", "is a table"),
        ("api = \n", "cannot be read"),
        ("processes = 'many'\n", "'processes' has to be a whole number from 1 on, not 'many'"),
    ],
)
def test_a_wrong_file_is_an_error_that_says_where_and_what(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as caught:
        load(BrokerConfig, {}, {}, tmp_path)
    assert str(tmp_path / "headrace.toml") in str(caught.value)


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="environment HEADRACE_GRACE: 'grace' has to be a duration"):
        load(BrokerConfig, {}, {"HEADRACE_GRACE": "soon"}, tmp_path)


def test_an_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    assert load(ClientConfig, {}, {"HEADRACE_API": ""}, tmp_path).config.api == "tcp://127.0.0.1:5555"


def test_maps_can_be_tables_of_the_file(tmp_path: Path) -> None:
    write(tmp_path, '[limits]\nlicence = 2\n[router.store-config]\npath = "/data"\n[roles]\nshell = 2\n')
    router = load(RouterConfig, {}, {}, tmp_path).config
    assert router.limits == {"licence": 2}
    assert router.store_config == {"path": "/data"}
    assert load(BrokerConfig, {}, {}, tmp_path).config.roles == {"shell": 2}


@pytest.mark.parametrize(
    ("reader", "raw", "value"),
    [
        (settings.seconds, "30d", 2592000.0),
        (settings.seconds, "500ms", 0.5),
        (settings.seconds, "1.5", 1.5),
        (settings.seconds, 0, 0.0),
        (settings.count, "3", 3),
        (settings.flag, "on", True),
        (settings.flag, "0", False),
        (settings.names, "workers, more.workers", ("workers", "more.workers")),
        (settings.names, ["a", "b"], ("a", "b")),
        (settings.slots, "shell:2,encode:1", {"shell": 2, "encode": 1}),
        (settings.slots, '{"a:b": 2}', {"a:b": 2}),
        (settings.offers, {"gpu": 0.5}, {"gpu": 0.5}),
        (settings.offers, "memory:64,gpu:0+3", {"memory": 64.0, "gpu": ("0", "3")}),
        (settings.offers, "gpu:+3", {"gpu": ("3",)}),
        (settings.offers, '{"gpu": ["0", "3"], "cpu": 2}', {"gpu": ("0", "3"), "cpu": 2.0}),
        (settings.offers, {"gpu": [0, 3]}, {"gpu": ("0", "3")}),
        (settings.json_map, '{"path": "x"}', {"path": "x"}),
        (settings.address, "localhost:5555", "tcp://localhost:5555"),
        (settings.address, "ipc:///tmp/s", "ipc:///tmp/s"),
        (settings.level, "DEBUG", "debug"),
    ],
)
def test_a_reader_reads(reader: settings.Reader, raw: object, value: object) -> None:
    assert reader(raw) == value


@pytest.mark.parametrize(
    ("reader", "raw"),
    [
        (settings.seconds, "-1"),
        (settings.seconds, "inf"),
        (settings.seconds, "nan"),
        (settings.seconds, True),
        (settings.seconds, "5 years"),
        (settings.count, 0),
        (settings.count, 1.5),
        (settings.count, "inf"),
        (settings.count, None),
        (settings.flag, "maybe"),
        (settings.flag, 1),
        (settings.names, ""),
        (settings.names, "a,,b"),
        (settings.names, []),
        (settings.names, 5),
        (settings.slots, "shell"),
        (settings.slots, "shell:0"),
        (settings.slots, ":2"),
        (settings.slots, "{broken"),
        (settings.slots, 4),
        (settings.offers, "gpu:-1"),
        (settings.offers, "gpu:nan"),
        (settings.offers, "gpu:+"),
        (settings.offers, "gpu:0+0"),
        (settings.offers, {"gpu": []}),
        (settings.offers, {"gpu": [""]}),
        (settings.offers, {"gpu": None}),
        (settings.offers, "{1}"),
        (settings.offers, 4),
        (settings.json_map, "[1]"),
        (settings.json_map, "nonsense"),
        (settings.address, "http://x:1"),
        (settings.address, "5555"),
        (settings.address, 5555),
        (settings.level, "loud"),
        (settings.text, " "),
    ],
)
def test_a_reader_refuses(reader: settings.Reader, raw: object) -> None:
    with pytest.raises(ValueError):
        reader(raw)


@hypothesis.settings(deadline=None)
@given(st.dictionaries(st.text(st.characters(categories=["L"]), min_size=1), st.integers(1, 99), max_size=4))
def test_the_text_of_a_map_is_read_back_as_it_was(roles: dict[str, int]) -> None:
    assert settings.slots(as_text(roles)) == roles


@pytest.mark.parametrize("section", SECTIONS)
def test_the_text_of_every_default_is_read_back_as_it_was(section: type, tmp_path: Path) -> None:
    given = {one.name: as_text(one.default) for one in fields_of(section) if one.default is not None}
    assert load(section, given, {}, tmp_path).config == section()


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_has_a_help_text_and_a_variable(section: type) -> None:
    for one in fields_of(section):
        assert one.help and one.metavar
        assert variable(one.name).isupper()
        assert one.name in {field.name for field in dataclasses.fields(section)}


def test_the_default_data_folder_stands_below_the_users_data_by_api_port() -> None:
    environ = {"XDG_DATA_HOME": "/elsewhere", "HOME": "/home/ada"}
    assert default_data_folder(5555, environ) == Path("/elsewhere/headrace/5555")
    assert user_data_folder({"HOME": "/home/ada"}, "linux") == Path("/home/ada/.local/share")
    assert user_data_folder({"HOME": "/home/ada", "XDG_DATA_HOME": "relative"}, "linux") == Path(
        "/home/ada/.local/share"
    )
    assert user_data_folder({"HOME": "/Users/ada"}, "darwin") == Path("/Users/ada/Library/Application Support")


def test_every_router_has_a_data_folder_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/d")
    assert data_folder("/given", "tcp://127.0.0.1:5555") == Path("/given")
    if user_data_folder() == Path("/d"):
        assert data_folder(None, "tcp://127.0.0.1:5555") == Path("/d/headrace/5555")
        assert data_folder(None, "ipc:///tmp/head race.sock") == Path("/d/headrace/tmp-head-race.sock")
