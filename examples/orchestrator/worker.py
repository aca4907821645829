"""A worker that serves the protocol of docs/orchestrator.md with nothing but the standard library.

    python worker.py [--name NAME]        prints `listening PORT`, runs until SIGTERM

SIGUSR1 makes it slow (an answer takes 30 s), SIGUSR2 makes it quick again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

running: dict[str, dict[str, object]] = {}
"""What this worker runs. A real one would start and stop something where this changes."""
quick = threading.Event()


class Items(BaseHTTPRequestHandler):
    """GET /items, PUT /items/NAME, DELETE /items/NAME."""

    protocol_version = "HTTP/1.1"  # connections are kept, so every answer has a Content-Length
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        quick.wait(30)
        if self.path == "/items":
            self.answer(200, {"items": sorted(running)})
        else:
            self.answer(404)

    def do_PUT(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        quick.wait(30)
        running[self.item()] = body
        self.answer(200)

    def do_DELETE(self) -> None:
        quick.wait(30)
        self.answer(404 if running.pop(self.item(), None) is None else 200)

    def item(self) -> str:
        return unquote(self.path.removeprefix("/items/"))

    def answer(self, status: int, content: object = None) -> None:
        body = b"" if content is None else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Requests are not logged."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # whoever asked did not wait for the answer
            super().handle()


def end_with_parent(parent: int) -> None:
    """No worker outlives what started it."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--name", default="worker", help="shown by ps, used for nothing else")
    arguments.parse_args()
    quick.set()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the demo, which stops its workers
    signal.signal(signal.SIGUSR1, lambda *_: quick.clear())
    signal.signal(signal.SIGUSR2, lambda *_: quick.set())
    threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Items)
    print("listening", server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
