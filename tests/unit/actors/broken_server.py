"""A web server that breaks in all the usual ways."""

import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DATA = bytes(range(256)) * 4096  # 1 MiB


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str]] = []
        """Path and Range header of each request."""
        self.release = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *words: object) -> None:
        del words

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.server.asked.append((self.path, wanted))
        turn = sum(path == self.path for path, _ in self.server.asked)
        start = int(wanted.removeprefix("bytes=").removesuffix("-") or 0)
        match self.path:
            case "/whole":
                self.give(DATA)
            case "/moved":
                self.send_response(302)
                self.send_header("Location", "/whole")
                self.end_headers()
            case "/cut":  # breaks off twice, continues where asked
                end = {1: 300_000, 2: 700_000}.get(turn, len(DATA))
                self.give(DATA[start:], end - start, partial=bool(wanted))
            case "/cut-no-ranges":  # breaks off once, then starts anew whatever is asked
                self.give(DATA, 300_000 if turn == 1 else len(DATA))
            case "/cut-always":
                self.give(DATA, 1000)
            case "/busy":
                if turn < 3:
                    self.send_error(503)
                else:
                    self.give(DATA)
            case "/stalls":  # goes silent once
                self.give(DATA[start:], 5000 if turn == 1 else None, partial=bool(wanted))
                if turn == 1:
                    self.wfile.flush()
                    self.server.release.wait(20)
            case "/wrong-place":  # goes on where it likes once, and says so
                if turn == 1:
                    self.give(DATA[5000:], partial=True, first=5000)
                else:
                    self.give(DATA[start:], partial=bool(wanted), first=start)
            case "/good/models-1/net.onnx" | "/page/models-1/net.onnx":
                self.give(DATA[start:], partial=bool(wanted), first=start)
            case "/bad/models-1/net.onnx":
                self.give(b"x" + DATA[1:])
            case "/lame/models-1/net.onnx":
                self.give(DATA[start:], 1000, partial=bool(wanted), first=start)
            case "/half/models-1/net.onnx":  # gives one half, then nothing any more
                if turn == 1:
                    self.give(DATA, len(DATA) // 2)
                else:
                    self.send_error(404)
            case path if path.endswith("/models-1/net.hash"):
                page = b"<html>not here</html>"
                self.give(page if path.startswith("/page") else b"%08x\n" % zlib.crc32(DATA))
            case "/past-the-end":
                if wanted:
                    self.send_error(416)
                else:
                    self.give(DATA)
            case _:
                self.send_error(404)

    def give(
        self,
        data: bytes,
        sent: int | None = None,
        *,
        partial: bool = False,
        first: int | None = None,
    ) -> None:
        """Promise all of the data and send ``sent`` bytes of it."""
        self.send_response(206 if partial else 200)
        if partial and first is not None:
            self.send_header("Content-Range", f"bytes {first}-{len(DATA) - 1}/{len(DATA)}")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[:sent])


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.release.set()
    server.shutdown()
    thread.join()
    server.server_close()
