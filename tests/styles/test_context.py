"""Contexts: access by attribute, and what they are on the disk."""

from __future__ import annotations

import copy
import json
import math
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from headrace.pipeline.errors import ConfigError
from headrace.steps import Context

# Access -------------------------------------------------------------------------------------------------------------


def test_keys_are_attributes() -> None:
    ctx = Context({"Train": 1}, Test=2)
    assert (ctx.Train, ctx["Test"]) == (1, 2)
    ctx.Train = 3
    ctx["My Step"] = 4
    assert (ctx["Train"], ctx.My_Step) == (3, 4)
    ctx.My_Step = 5
    assert ctx["My Step"] == 5
    assert "My_Step" not in ctx
    del ctx.My_Step
    assert "My Step" not in ctx
    with pytest.raises(AttributeError, match="Context has no 'Tests'; it holds Train, Test, context_meta"):
        ctx.Tests  # noqa: B018
    with pytest.raises(AttributeError):
        del ctx.Tests


def test_a_key_called_like_a_method_is_reached_in_brackets() -> None:
    ctx = Context(items=3)
    assert ctx["items"] == 3
    assert callable(ctx.items)
    with pytest.raises(AttributeError, match=r"write \['items'\]"):
        ctx.items = 4  # type: ignore[assignment,method-assign]


def test_two_keys_that_read_alike_are_reached_in_brackets() -> None:
    ctx = Context({"a b": 1, "a-b": 2})
    assert not hasattr(ctx, "a_b")


def test_a_context_knows_when_and_with_what_it_was_made() -> None:
    meta = Context().context_meta
    assert {"created_on", "python", "headrace"} <= set(meta)
    assert len(meta["created_on"]) == 10


@pytest.mark.parametrize(
    "copied", [Context.copy, copy.copy, copy.deepcopy, lambda ctx: pickle.loads(pickle.dumps(ctx))]
)
def test_contexts_can_be_copied(copied: Any) -> None:
    ctx = Context({"Train": {"rate": 1}}, fingerprint=True)
    other = copied(ctx)
    assert type(other) is Context
    assert other == ctx
    assert other.Train == {"rate": 1}


# On the disk --------------------------------------------------------------------------------------------------------


def back(ctx: Context, tmp_path: Path, name: str = "stored") -> Context:
    ctx.store(tmp_path / name)
    return Context.load(tmp_path / name)


PLAIN: dict[str, Any] = {
    "text": "text",
    "empty": "",
    "umlaut": "Räuber \ud800",
    "num": 0,
    "big": 2**80,
    "check": True,
    "dec": 1.1,
    "infinite": math.inf,
    "list": [1, "b", 2.5, False, [3, [4]], {"five": [5, {"six": 6}]}],
    "nothing in it": [],
    "dictionary": {"key": [1, 2, 3], "inner": {"deep": {"er": 1}}},
    "path": "kept",
    "a;;b": 1,
    "with/slash": {"up/../../there": 2},
    "$packed": {"$packed": "x"},
}


def test_plain_values_come_back_as_they_were(tmp_path: Path) -> None:
    ctx = Context(PLAIN)
    again = back(ctx, tmp_path)
    assert again == ctx
    for key, value in PLAIN.items():
        assert again[key] == value
        assert isinstance(again[key], type(value))
    assert again.context_meta == ctx.context_meta


def test_inner_dicts_come_back_readable(tmp_path: Path) -> None:
    again = back(Context(A={"b": {"c": 1}}), tmp_path)
    assert again.A.b.c == 1


def test_nan_comes_back(tmp_path: Path) -> None:
    again = back(Context(x=math.nan, y=[math.nan]), tmp_path)
    assert math.isnan(again.x)
    assert math.isnan(again.y[0])


def test_the_record_is_json_for_people(tmp_path: Path) -> None:
    Context({"Rate": 0.5, "Deep": {"er": "x"}}).store(tmp_path / "ctx")
    document = json.loads((tmp_path / "ctx" / "master_record.json").read_text())
    assert document["values"]["Rate"] == {"kind": "value", "value": 0.5}
    assert document["values"]["Deep"]["items"]["er"]["value"] == "x"


def test_keys_that_begin_with_a_dot_are_not_stored(tmp_path: Path) -> None:
    again = back(Context({".hidden": object(), "d": {"key": 1, ".ignored": object()}}), tmp_path)
    assert ".hidden" not in again
    assert again.d == {"key": 1}


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ((1, 2), "X of type tuple"),
        ({1}, "X of type set"),
        (None, "X of type NoneType"),
        (b"x", "X of type bytes"),
        ({}, "X of type dict: it is empty"),
        (object(), "X of type object"),
        (len, "X of type builtin_function_or_method"),
        ({"a": {"b": None}}, r"X\['a'\]\['b'\] of type NoneType"),
        ({"a": {}}, r"X\['a'\] of type dict: it is empty"),
        ([1, (2,)], r"X\[1\] of type tuple"),
        ([{"a": [{}]}], r"X\[0\]\['a'\]\[0\] of type dict"),
        ({1: 2}, "the key 1 of X of type int: keys have to be texts"),
        ({"a": {1: 2}}, r"the key 1 of X\['a'\]"),
        ([{1: 2}], r"the key 1 of X\[0\]"),
        (1j, "X of type complex"),
        (range(3), "X of type range"),
    ],
)
def test_what_cannot_be_stored_is_named_and_leaves_nothing(tmp_path: Path, value: Any, where: str) -> None:
    ctx = Context({"good": [1], "X": value})
    with pytest.raises(TypeError, match=f"Unsupported store operation for variable {where}"):
        ctx.store(tmp_path / "ctx")
    assert list(tmp_path.iterdir()) == []


def test_what_contains_itself_is_refused(tmp_path: Path) -> None:
    endless: list[Any] = []
    endless.append(endless)
    around: dict[str, Any] = {}
    around["again"] = around
    for value in (endless, around):
        with pytest.raises(TypeError, match="nested too deep, or contains itself"):
            Context(X=value).store(tmp_path / "ctx")


@pytest.mark.parametrize("there", ["file", "folder", "link"])
def test_what_is_there_is_never_touched(tmp_path: Path, there: str) -> None:
    place = tmp_path / "ctx"
    if there == "file":
        place.write_text("mine")
    elif there == "folder":
        place.mkdir()
    else:
        place.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError, match="ctx is there already"):
        Context(a=1).store(place)
    assert [one.name for one in tmp_path.iterdir()] == ["ctx"]


def test_a_failure_while_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        Context(a=1).store(tmp_path / "ctx")
    assert list(tmp_path.iterdir()) == []


def test_folders_above_are_made(tmp_path: Path) -> None:
    assert back(Context(a=1), tmp_path, "deep/down/ctx").a == 1


def test_loading_what_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no Context in .*nothing"):
        Context.load(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError):
        Context.load(tmp_path / "empty")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "3",
        '{"headrace context": 1}',
        '{"headrace context": 1, "values": []}',
        '{"headrace context": 1, "values": {"a": {"kind": "pickle", "file": "a"}}}',
        '{"headrace context": 1, "values": {"a": {"kind": "array"}}}',
        '{"headrace context": 1, "values": {"a": {"kind": "array", "file": "../../etc/passwd.npy"}}}',
        '{"headrace context": 1, "values": {"a": {"kind": "array", "file": 3}}}',
        '{"headrace context": 1, "values": {"a": 3}}',
        '{"headrace context": 2, "values": {}}',
        '{"headrace context": "x", "values": {}}',
        "\x00",
    ],
)
def test_a_record_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "master_record.json").write_text(text)
    with pytest.raises(ConfigError, match=r"master_record\.json"):
        Context.load(tmp_path)


def test_a_context_of_the_first_format_loads(tmp_path: Path) -> None:
    """This text never changes: it is what the first version has written."""
    (tmp_path / "master_record.json").write_text(
        '{"headrace context": 1, "fingerprint": true, "fingerprints": {"Train": ["abc"]}, "values": {'
        '"Train": {"kind": "dict", "items": {"rate": {"kind": "value", "value": 0.1}, '
        '"all": {"kind": "value", "value": [1, {"$packed": "y3/4AAAAAAAA"}]}}}, '
        '"context_meta": {"kind": "dict", "items": {"created_on": {"kind": "value", "value": "2020-01-01"}}}}}'
    )
    ctx = Context.load(tmp_path)
    assert ctx.Train.rate == 0.1
    assert math.isnan(ctx.Train.all[1])
    assert ctx.context_meta == {"created_on": "2020-01-01"}


def test_a_context_of_the_ancestor_loads(tmp_path: Path) -> None:
    (tmp_path / "master_record.json").write_text(
        json.dumps(
            {
                "text": "text",
                "list": [1, {"a": 2}],
                "B;;nested;;deep": 1,
                "B;;other": 2,
                "clever_-_Cleverdict": {"key": [1]},
                "context_meta;;python": "3.11.0",
            }
        )
    )
    ctx = Context.load(tmp_path)
    assert (ctx.text, ctx.list, ctx.clever.key) == ("text", [1, {"a": 2}], [1])
    assert ctx.B == {"nested": {"deep": 1}, "other": 2}
    assert ctx.context_meta == {"python": "3.11.0"}


def test_a_pickle_of_the_ancestor_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "master_record.json").write_text('{"kmeans_-_pickle": "/old/kmeans_-_pickle.pickle"}')
    with pytest.raises(ConfigError, match="kmeans_-_pickle is a pickle, which could run any code"):
        Context.load(tmp_path)


def test_json_is_not_the_way() -> None:
    with pytest.raises(NotImplementedError, match=r"Use \.store\(\) instead"):
        Context().to_json()
    with pytest.raises(NotImplementedError, match=r"Use \.load\(\) instead"):
        Context.from_json()


# Arrays and tables --------------------------------------------------------------------------------------------------


def test_arrays_come_back_and_stand_in_a_file_each(tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    arrays = {
        "ints": np.array([1, 2, 3]),
        "table": np.arange(6.0).reshape(2, 3),
        "none": np.empty((0, 2)),
        "point": np.array(5),
        "when": np.array(["2020-01-01"], dtype="datetime64[D]"),
        "texts": np.array(["a", "bc"]),
        "fields": np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    }
    ctx = Context(arrays)
    ctx["deep"] = {"er": np.array([7])}
    ctx.store(tmp_path / "ctx")
    (tmp_path / "ctx").rename(tmp_path / "moved")
    again = Context.load(tmp_path / "moved")
    for name, array in arrays.items():
        assert again[name].dtype == array.dtype
        assert again[name].shape == array.shape
        assert (again[name] == array).all()
    assert again.deep.er == 7
    assert len(list((tmp_path / "moved").glob("*.npy"))) == 8


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda np: np.float64(1.5), r"of type numpy\.float64: make a plain number of it"),
        (lambda np: np.int32(1), r"of type numpy\.int32"),
        (lambda np: np.bool_(True), "make a plain number"),
        (lambda np: np.array([object()]), "it holds Python objects"),
        (lambda np: [np.array([1])], r"\[0\] of type numpy\.ndarray: arrays and tables cannot stand in a list"),
        (lambda np: np.ma.array([1]), r"numpy\.ma"),
    ],
)
def test_numbers_of_numpy_and_arrays_of_objects_are_refused(tmp_path: Path, make: Any, text: str) -> None:
    np = pytest.importorskip("numpy")
    with pytest.raises(TypeError, match=f"Unsupported store operation for variable X.*{text}"):
        Context(X=make(np)).store(tmp_path / "ctx")
    assert list(tmp_path.iterdir()) == []


def frames(pd: Any) -> dict[str, Any]:
    days = pd.date_range("2020-01-01", periods=2)
    return {
        "numbers": pd.DataFrame({"a": [1, 2], "b": [3.0, 4.0]}),
        "texts": pd.DataFrame({"a": ["x", None]}),
        "columns": pd.DataFrame([[1, 2], [3, 4]]),
        "days": pd.DataFrame({"a": [1, 2]}, index=days),
        "objects": pd.DataFrame({"a": [[1, 2], {"k": 3}]}),
        "mixed": pd.DataFrame({"a": [1, "x"]}),
        "twice": pd.DataFrame([[1, 2]], columns=["a", "a"]),
        "levels": pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_tuples([(1, "a"), (2, "b")])),
        "upper": pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])),
        "kinds": pd.DataFrame({"a": pd.Categorical(["x", "y"], ordered=True), "b": days.tz_localize("Europe/Berlin")}),
        "months": pd.DataFrame({"a": pd.period_range("2020-01", periods=2, freq="M")}),
        "empty": pd.DataFrame(),
    }


def test_tables_come_back_exactly(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    given = frames(pd)
    given["noted"] = pd.DataFrame({"a": [1]})
    given["noted"].attrs["unit"] = "m"
    Context(given).store(tmp_path / "ctx")
    again = Context.load(tmp_path / "ctx")
    for name, frame in given.items():
        pd.testing.assert_frame_equal(again[name], frame)
        assert again[name].attrs == frame.attrs
    files = [file.name for file in (tmp_path / "ctx").iterdir()]
    assert len(files) == len(given) + 1
    assert any(name.endswith("numbers.parquet") for name in files)


@pytest.mark.parametrize("name", ["b", None, "", 3, ("a", 1)])
def test_series_come_back_with_their_names(tmp_path: Path, name: Any) -> None:
    pd = pytest.importorskip("pandas")
    series = pd.Series([3.0, 4.0], name=name, index=["x", "y"])
    pd.testing.assert_series_equal(back(Context(s=series), tmp_path).s, series)


def test_tables_are_stored_without_pyarrow_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pd = pytest.importorskip("pandas")

    def missing(*_: Any, **__: Any) -> None:
        raise ImportError("no pyarrow")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", missing)
    frame, series = frames(pd)["numbers"], pd.Series([1, 2], name="s")
    again = back(Context(f=frame, s=series), tmp_path)
    pd.testing.assert_frame_equal(again.f, frame)
    pd.testing.assert_series_equal(again.s, series)
    assert len(list((tmp_path / "stored").glob("*.packed"))) == 2


def test_a_table_that_nothing_can_hold_is_refused(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    with pytest.raises(TypeError, match="Unsupported store operation for variable X"):
        Context(X=pd.DataFrame({"a": [object()]})).store(tmp_path / "ctx")
    assert list(tmp_path.iterdir()) == []


def test_tables_and_arrays_of_the_ancestor_are_found_where_they_are_now(tmp_path: Path) -> None:
    pd, np = pytest.importorskip("pandas"), pytest.importorskip("numpy")
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"a": [1, 2]})
    frame.to_parquet(tmp_path / "f_-_pd.DataFrame.parquet")
    pd.DataFrame(pd.Series([3.0], name="b")).to_parquet(tmp_path / "s_-_pd.Series.parquet")
    np.save(tmp_path / "B;;x_-_np.ndarray.npy", np.array([1]))
    (tmp_path / "master_record.json").write_text(
        json.dumps(
            {
                "f_-_pd.DataFrame": "/gone/f_-_pd.DataFrame.parquet",
                "s_-_pd.Series": "old\\s_-_pd.Series.parquet",
                "B;;x_-_np.ndarray": "old/B;;x_-_np.ndarray.npy",
            }
        )
    )
    ctx = Context.load(tmp_path)
    pd.testing.assert_frame_equal(ctx.f, frame)
    pd.testing.assert_series_equal(ctx.s, pd.Series([3.0], name="b"))
    assert ctx.B.x == 1


def test_nothing_is_pickled(tmp_path: Path) -> None:
    np, pd = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    Context(a=np.array([1]), f=pd.DataFrame({"a": ["x", 1]})).store(tmp_path / "ctx")
    (tmp_path / "ctx" / "0001-a.npy").write_bytes(
        b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
        + pickle.dumps([print])
    )  # fmt: skip
    with pytest.raises(ConfigError, match="allow_pickle=False"):
        Context.load(tmp_path / "ctx")
