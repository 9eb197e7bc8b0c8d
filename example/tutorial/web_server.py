"""A web server for the folder `pages`, in a thread: the tutorial needs no internet."""

import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PAGES = Path(__file__).parent / "pages"
NAMES = ("index.html", "headrace.html", "wheel.html", "tailrace.html", "stones.html")


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        """The tutorial's terminal belongs to the tutorial."""


@contextmanager
def serving_pages():
    """The addresses of the pages, for as long as they are served. The port is any free one."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(PAGES))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield [f"http://127.0.0.1:{server.server_port}/{name}" for name in NAMES]
        finally:
            server.shutdown()
