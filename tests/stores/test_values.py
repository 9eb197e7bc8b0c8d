"""Large values: whole files, names that stay inside the folder, one id per folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.pipeline.errors import ConfigError, NotFound
from headrace.stores import disk
from headrace.stores.values import ValuesFolder


@pytest.fixture
def values(tmp_path: Path) -> ValuesFolder:
    return ValuesFolder(tmp_path / "values")


def test_a_value_comes_back_by_its_reference(values: ValuesFolder) -> None:
    ref = values.write("run1", "Words", (2, 0), 0x10000000007, b"data")
    assert ref == "run1/Words/2.0/0000010000000007"
    assert values.read(ref) == b"data"
    assert (values.path / ref).read_bytes() == b"data"
    assert values.size(ref) == 4


def test_a_part_of_a_value_can_be_read(values: ValuesFolder) -> None:
    ref = values.write("run1", "Words", (), 1, b"0123456789")
    assert values.read(ref, offset=3, length=4) == b"3456"
    assert values.read(ref, offset=8) == b"89"
    assert values.read(ref, offset=20) == b""


def test_every_attempt_has_a_file_of_its_own(values: ValuesFolder) -> None:
    first, second = (values.write("run1", "A", (), lease, b"%d" % lease) for lease in (1, 2))
    assert values.read(first) == b"1"
    assert values.read(second) == b"2"
    values.remove(first)
    values.remove(first)
    assert values.refs("run1") == [second]


def test_writing_the_same_value_again_is_harmless(values: ValuesFolder) -> None:
    refs = {values.write("run1", "A", (), 1, b"same") for _ in range(2)}
    assert len(refs) == 1
    assert values.read(refs.pop()) == b"same"


@given(run=st.text(min_size=1), job=st.text(), path=st.lists(st.integers(0, 10**6), max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_text_can_be_a_name(tmp_path_factory: pytest.TempPathFactory, run: str, job: str, path: list[int]) -> None:
    values = ValuesFolder(tmp_path_factory.getbasetemp() / "names")
    ref = values.write(run, job, tuple(path), 1, repr((run, job)).encode())
    assert values.read(ref) == repr((run, job)).encode()
    assert ref in values.refs(run)
    values.remove_run(run)
    assert values.refs(run) == []


def test_names_that_differ_only_at_their_far_end_have_different_files(values: ValuesFolder) -> None:
    jobs = ["x" * 3000 + end for end in "ab"] + ["é" * 500 + end for end in "ab"] + ["a/b", "a%2Fb", "a", ".a", "%2Ea"]
    refs = [values.write("run1", job, (), 1, job.encode()) for job in jobs]
    assert [values.read(ref).decode() for ref in refs] == jobs


@pytest.mark.parametrize(
    "ref", ["", "a", "a/b/c", "a/b/c/d/e", "../../../etc", "a/../b/c", "/a/b/c", "a/b/c/", "a/./b/c", "a/b/c/d\0"]
)
def test_a_reference_that_is_none_is_refused(values: ValuesFolder, ref: str) -> None:
    with pytest.raises(NotFound):
        values.read(ref)


def test_a_reference_leads_nowhere_else(values: ValuesFolder, tmp_path: Path) -> None:
    (tmp_path / "secret" / "b" / "c").mkdir(parents=True)
    (tmp_path / "secret" / "b" / "c" / "d").write_text("secret")
    os.symlink(tmp_path / "secret", values.path / "a")
    with pytest.raises(NotFound, match="leads out"):
        values.read("a/b/c/d")


def test_a_missing_value_says_where_it_was_looked_for(values: ValuesFolder) -> None:
    with pytest.raises(NotFound, match=f"pruned with its run; looked in {values.path}"):
        values.read("run1/A/-/0000000000000001")


def test_removing_a_run_takes_nothing_from_another(values: ValuesFolder) -> None:
    values.write("run1", "A", (), 1, b"one")
    kept = values.write("run2", "A", (), 1, b"three")
    assert values.used() == 8
    assert values.runs() == ["run1", "run2"]
    values.remove_run("run1")
    values.remove_run("run1")
    assert values.refs("run1") == []
    assert values.runs() == ["run2"]
    assert values.read(kept) == b"three"
    assert values.used() == 5
    again = values.write("run1", "A", (), 2, b"again")
    assert values.read(again) == b"again"


def test_a_run_that_cannot_be_removed_is_an_error(values: ValuesFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = values.write("run1", "A", (), 1, b"one")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", refuse)
        with pytest.raises(PermissionError):
            values.remove_run("run1")
    assert values.read(ref) == b"one"


def test_all_processes_agree_on_one_id(tmp_path: Path) -> None:
    code = "import sys; from headrace.stores.values import ValuesFolder; print(ValuesFolder(sys.argv[1]).id)"
    command = [sys.executable, "-c", code, str(tmp_path / "values")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    ids = {process.communicate()[0].strip() for process in processes}
    assert ids == {ValuesFolder(tmp_path / "values").id}
    assert len(ids.pop()) == 32


def test_another_folder_has_another_id(tmp_path: Path) -> None:
    assert ValuesFolder(tmp_path / "a").id != ValuesFolder(tmp_path / "b").id


def test_a_folder_that_cannot_be_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"the values folder .*file cannot be used"):
        ValuesFolder(tmp_path / "file")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "values.id").write_text("hello")
    with pytest.raises(ConfigError, match="does not hold an id"):
        ValuesFolder(tmp_path / "odd")


def test_a_write_that_fails_leaves_nothing_half_made(values: ValuesFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(disk, "sync", full)
        with pytest.raises(OSError, match="No space left"):
            values.write("run1", "A", (), 1, b"data")
    assert values.refs("run1") == []
    assert not list(values.path.glob("*/*/*/*")) and not list(values.path.glob("*/*/*/.*"))
    assert values.read(values.write("run1", "A", (), 1, b"data")) == b"data"
