"""A web server on this machine for tests of downloads: whole files, parts of them, redirects, broken connections."""

from __future__ import annotations

import gzip
import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class FileServer:
    """Serves the files of a folder on 127.0.0.1.

    Attributes:
        url: its address, with a slash at the end.
        asked: the paths that were asked for, with the first byte in brackets where only a part was.
        most: bytes after which it hangs up; None sends everything.
        elsewhere: address that every request is led to; None serves the file.
        resumes: whether it can send parts of files.
        lie: bytes that it promises beyond those that it sends; negative for fewer, None to promise nothing.
        compresses: whether it compresses files though nobody asked for it.
        page: a web page that it sends with status 200 instead of every file.
        pause: seconds that it waits after every byte.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.most: int | None = None
        self.elsewhere: str | None = None
        self.resumes = True
        self.lie: int | None = 0
        self.compresses = False
        self.page: bytes | None = None
        self.pause = 0.0
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def answer(self, status: int, **headers: object) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), str(value))
                self.end_headers()

            def do_GET(self) -> None:
                begin = int(self.headers.get("Range", "bytes=0-")[6:-1])
                server.asked.append(self.path + (f" [{begin}]" if begin else ""))
                path = server.folder / self.path.lstrip("/")
                if server.page is not None:
                    self.answer(200, Content_Length=len(server.page), Content_Type="text/html; charset=utf-8")
                    self.wfile.write(server.page)
                    return None
                if server.elsewhere:
                    return self.answer(302, Location=server.elsewhere)
                if not path.is_file():
                    return self.answer(404, Content_Length=0)
                content = path.read_bytes()
                if begin and server.resumes:
                    if begin >= len(content):
                        return self.answer(416, Content_Length=0)
                    span = f"bytes {begin}-{len(content) - 1}/{len(content)}"
                    content = content[begin:]
                    self.answer(206, Content_Length=len(content), Content_Range=span)
                elif server.compresses:
                    content = gzip.compress(content)
                    self.answer(200, Content_Length=len(content), Content_Encoding="gzip")
                else:
                    length = {} if server.lie is None else {"Content_Length": len(content) + server.lie}
                    self.answer(200, **length)
                if server.pause:
                    with suppress(OSError):  # the other side hung up
                        for byte in content:
                            self.wfile.write(bytes([byte]))
                            time.sleep(server.pause)
                    return None
                self.wfile.write(content[: server.most])
                return None

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/"


@contextmanager
def serving(folder: Path) -> Iterator[FileServer]:
    """Serve ``folder``, which is made, as long as the block runs."""
    folder.mkdir()
    server = FileServer(folder)
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        thread.join()
        server.http.server_close()
