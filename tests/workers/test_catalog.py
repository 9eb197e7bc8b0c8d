"""Which workers a module has, and what is said when one cannot be used."""

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from headrace.pipeline.errors import ConfigError, NotFound
from headrace.workers.base import Worker
from headrace.workers.catalog import Catalog
from headrace.workers.functions import worker

Write = Callable[[str, str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a module of the user."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def write(name: str, text: str) -> str:
        file = tmp_path / f"{name.replace('.', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
        return name

    return write


def names(catalog: Catalog) -> list[str]:
    return [card.name for card in catalog.cards()[: len(catalog)]]


def test_without_a_list_worker_classes_and_decorated_functions_count(write: Write) -> None:
    write(
        "mine",
        """
        from headrace import Worker, worker
        from headrace.workers.base import Worker as Base
        from other import Imported

        class Words(Worker):
            requires = ["text"]
            role = "text"
            def process(self, data): ...

        class Abstract(Worker):
            pass

        class _Private(Worker):
            def process(self, data): ...

        class Plain:
            def process(self, data): ...

        @worker
        def double(number): ...

        def helper(): ...
        """,
    )
    write("other", "from headrace import Worker\nclass Imported(Worker):\n    def process(self, data): ...\n")
    catalog = Catalog.load(["mine"])
    assert names(catalog) == ["Words", "double"]
    words, double, *_ = catalog.cards()
    assert (words.requires, words.role, words.kind) == (("text",), "text", "class")
    assert (double.requires, double.role, double.kind) == (("number",), None, "function")


def test_a_package_may_hand_on_workers_from_below_it(write: Write) -> None:
    write("shop.orders", "from headrace import worker\n@worker\ndef order(item): ...\n")
    write("shop.__init__", "from shop.orders import order\n")
    assert names(Catalog.load(["shop"])) == ["order"]


def test_a_list_decides_and_needs_no_base_class(write: Write) -> None:
    write(
        "listed",
        """
        __all__ = ["Plain", "total", "VERSION", "Imported"]
        from other import Imported
        VERSION = 3
        class Plain:
            def process(self, data): ...
        class Left(Plain): ...
        def total(numbers): ...
        """,
    )
    write("other", "from headrace import Worker\nclass Imported(Worker):\n    def process(self, data): ...\n")
    assert names(Catalog.load(["listed"])) == ["Plain", "total", "Imported"]


def test_a_listed_name_that_is_missing_is_an_error(write: Write) -> None:
    write("gap", "__all__ = ['Gone']\n")
    with pytest.raises(ConfigError, match=r"^Could not find worker 'Gone': module 'gap' lists it"):
        Catalog.load(["gap"])


def test_a_module_that_fails_to_import_is_told_with_its_traceback(write: Write) -> None:
    write("broken", "def prepare():\n    return 1 / 0\nprepare()\n")
    with pytest.raises(ConfigError, match=r"(?s)module 'broken' cannot be imported.*prepare.*ZeroDivisionError"):
        Catalog.load(["broken"])


def test_a_module_that_wants_to_exit_fails_to_import(write: Write) -> None:
    write("leaving", "import sys\nsys.exit(3)\n")
    with pytest.raises(ConfigError, match="SystemExit: 3"):
        Catalog.load(["leaving"])


def test_only_a_module_that_is_not_required_may_be_missing(write: Write) -> None:
    with pytest.raises(ConfigError, match="there is no module 'absent'"):
        Catalog.load(["absent"])
    catalog = Catalog.load(["absent"], required=False)
    assert len(catalog) == 0
    assert catalog.warnings == ["there is no module 'absent' here: no workers come from it"]


def test_a_missing_import_inside_of_a_module_is_not_a_missing_module(write: Write) -> None:
    write("needy", "import no_such_library\n")
    with pytest.raises(ConfigError, match="No module named 'no_such_library'"):
        Catalog.load(["needy"], required=False)


def test_two_workers_of_one_name_are_both_named(write: Write) -> None:
    write("one", "from headrace import worker\n@worker\ndef same(): ...\n")
    write("two", "from headrace import worker\n@worker(name='same')\ndef other(): ...\n")
    with pytest.raises(ConfigError, match=r"two workers 'same': one\.same and two\.other"):
        Catalog.load(["one", "two"])


def test_one_worker_seen_through_two_modules_is_no_duplicate(write: Write) -> None:
    write("one", "__all__ = ['same']\nfrom headrace import worker\n@worker\ndef same(): ...\n")
    write("two", "__all__ = ['same']\nfrom one import same\n")
    assert names(Catalog.load(["one", "two"])) == ["same"]


def test_a_module_without_workers_is_a_warning(write: Write) -> None:
    write("empty", "VALUE = 1\n")
    assert "module 'empty' has no workers" in Catalog.load(["empty"]).warnings[0]


def test_the_folder_comes_before_everything_else(write: Write, tmp_path: Path) -> None:
    write("mine", "from headrace import worker\n@worker\ndef far(): ...\n")
    write("near.mine", "from headrace import worker\n@worker\ndef near(): ...\n")
    assert names(Catalog.load(["mine"], folder=str(tmp_path / "near"))) == ["near"]


def test_a_catalog_is_made_of_classes_functions_and_modules() -> None:
    class Words(Worker):
        def process(self, data: object) -> None: ...

    def plain() -> None: ...

    module = ModuleType("made")
    exec("from headrace import worker\n@worker\ndef inside(): ...", vars(module))
    assert names(Catalog.of([Words, plain, module])) == ["Words", "plain", "inside"]
    assert names(Catalog.of(Words)) == ["Words"]
    assert names(Catalog.of(module)) == ["inside"]


def test_what_is_no_worker_is_refused() -> None:
    class Empty: ...

    with pytest.raises(ConfigError, match="3 is no worker"):
        Catalog.of([3])
    with pytest.raises(ConfigError, match="no `process"):
        Catalog.of([Empty])


def test_an_unknown_worker_is_told_with_the_known_ones() -> None:
    @worker
    def double() -> None: ...

    with pytest.raises(NotFound, match="there is no worker 'dubble'; this process has double"):
        Catalog.of(double)["dubble"]


def test_a_version_changes_with_the_code_of_the_module_and_with_nothing_else(write: Write) -> None:
    def version(text: str) -> str:
        sys.modules.pop("mine", None)
        write("mine", text)
        return Catalog.load(["mine"]).cards()[0].version

    text = (
        "from headrace import worker\n@worker\ndef double(number): return helper(number)\ndef helper(n): return 2 * n\n"
    )
    first = version(text)
    assert len(first) == 12
    assert version(text) == first
    assert version(text.replace("2 * n", "3 * n")) != first
