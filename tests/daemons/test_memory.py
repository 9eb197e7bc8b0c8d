"""What a process does not need any more goes back to the system."""

import platform
import subprocess
import sys

import pytest

LARGE = """
import psutil
from headrace.daemons.memory import give_back

kept = [bytes(50_000) for _ in range(2000)]  # too small to be given back one by one
del kept[:-1]
before = psutil.Process().memory_info().rss
assert give_back()
print(before - psutil.Process().memory_info().rss)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc offers it")
def test_what_is_free_below_something_that_is_needed_goes_back() -> None:
    shown = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, check=True)
    assert int(shown.stdout) > 50_000_000
