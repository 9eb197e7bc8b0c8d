"""Output of attempts: tried in child processes, because it redirects the whole process."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from headrace.workers.capture import tail


def run(program: str, *arguments: object) -> str:
    """A program in a process of its own; whatever it writes to descriptor 9 comes back."""
    read, write = os.pipe()
    text = "import os, sys\nfrom headrace.workers.capture import Capture, tail\n" + textwrap.dedent(program)
    command = [sys.executable, "-c", f"import os\nos.dup2({write}, 9)\n{text}", *map(str, arguments)]
    subprocess.run(command, check=True, pass_fds=[write], stdout=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as told:
        return told.read()


def test_every_way_of_writing_lands_in_the_region_of_its_attempt(tmp_path: Path) -> None:
    told = run(
        """
        import logging, subprocess
        capture = Capture(sys.argv[1])
        capture.install()
        logging.basicConfig()
        print("from print")
        logging.warning("from logging")
        os.write(1, b"from the system\\n")
        subprocess.run(["echo", "from a child"])
        print("no newline", end="")
        first = capture.attempt_ended()
        second = capture.attempt_ended()
        print("later")
        third = capture.attempt_ended()
        os.write(9, repr([tail(first), second, tail(third), third[1] == first[1] + first[2]]).encode())
        """,
        tmp_path / "logs" / "worker-0.log",
    )
    first = "from print\nWARNING:root:from logging\nfrom the system\nfrom a child\nno newline"
    assert told == repr([first, None, "later\n", True])


def test_a_full_disk_costs_lines_and_not_the_job(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: what is written beyond it fails."""
    told = run(
        """
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        capture = Capture(sys.argv[1])
        capture.install()
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        for _ in range(10):
            print("x" * 30)
        sys.stderr.write("y" * 30)
        size = capture.attempt_ended()[2]
        os.write(9, repr(size).encode())
        """,
        tmp_path / "worker-0.log",
    )
    assert 0 < int(told) <= 100


def test_a_file_that_is_full_is_followed_by_another_and_only_two_are_kept(tmp_path: Path) -> None:
    told = run(
        """
        capture = Capture(sys.argv[1], max_size=100)
        capture.install()
        regions = []
        for number in range(4):
            print(str(number) * 120)
            regions.append(capture.attempt_ended())
        print("last")
        regions.append(capture.attempt_ended())
        told = [[os.path.basename(region[0]), region[1], tail(region)[:5]] for region in regions]
        os.write(9, repr(told).encode())
        """,
        tmp_path / "worker-0.log",
    )
    assert told == repr(
        [
            ["worker-0.log", 0, ""],
            ["worker-0.1.log", 0, ""],
            ["worker-0.2.log", 0, ""],
            ["worker-0.3.log", 0, "33333"],
            ["worker-0.4.log", 0, "last\n"],
        ]
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["worker-0.3.log", "worker-0.4.log"]


def test_a_process_that_follows_another_goes_on_where_that_ended(tmp_path: Path) -> None:
    (tmp_path / "worker-1.3.log").write_text("before\n")
    (tmp_path / "worker-1.log").write_text("long before\n")
    (tmp_path / "worker-11.9.log").write_text("another slot\n")
    run(
        "capture = Capture(sys.argv[1]); capture.install(); print('now'); assert capture.attempt_ended()[1] == 7",
        tmp_path / "worker-1.log",
    )
    assert (tmp_path / "worker-1.3.log").read_text() == "before\nnow\n"


def test_the_tail_is_bounded_and_whole_characters(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("é" * 5000)
    assert tail((str(log), 0, 10_000), 4097) == "é" * 2048
    assert tail((str(tmp_path / "gone"), 0, 5)) == ""
    assert tail(None) == ""


@pytest.mark.parametrize(
    "rudeness",
    [
        "os.close(1); os.close(2)",
        "os.close(2)",
        "os.closerange(0, 3)",
        "sys.stdout.close(); sys.stderr.close()",
        "sys.stdout = sys.stderr = None",
        "os.dup2(os.open(os.devnull, os.O_WRONLY), 1)",
        "os.close(1); os.open(os.devnull, os.O_WRONLY)",
    ],
)
def test_output_that_user_code_has_closed_is_there_again_for_the_next_attempt(tmp_path: Path, rudeness: str) -> None:
    told = run(
        f"""
        import subprocess
        capture = Capture(sys.argv[1])
        capture.install()
        print("before")
        {rudeness}
        capture.attempt_ended()
        print("from print")
        sys.stderr.write("from stderr\\n")
        subprocess.run(["echo", "from a child"])
        os.write(9, tail(capture.attempt_ended()).encode())
        """,
        tmp_path / "worker-0.log",
    )
    assert told == "from print\nfrom stderr\nfrom a child\n"


def test_the_output_of_one_attempt_is_bounded_and_says_what_is_missing(tmp_path: Path) -> None:
    told = run(
        """
        capture = Capture(sys.argv[1], limit=1000)
        capture.install()
        print("first attempt")
        first = capture.attempt_ended()
        print("begin")
        for _ in range(100):
            print("x" * 99)
        print("end")
        second = capture.attempt_ended()
        print("third attempt")
        third = capture.attempt_ended()
        texts = [open(file, "rb").read()[offset:offset + length] for file, offset, length in (first, second, third)]
        os.write(9, repr(texts).encode())
        """,
        tmp_path / "logs" / "worker-0.log",
    )
    first, second, third = eval(told)
    assert (first, third) == (b"first attempt\n", b"third attempt\n")
    assert second.startswith(b"begin\n") and second.endswith(b"x\nend\n") and len(second) < 1100
    assert b"\n... 9010 bytes of output were cut here ...\n" in second
