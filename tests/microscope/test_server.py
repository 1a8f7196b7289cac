"""The server: what it answers, and whom it refuses."""

from __future__ import annotations

import gzip
import http.client
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnnlab.errors import ModelError, ProtocolError, UsageError
from cnnlab.microscope import bundle, server
from cnnlab.microscope.protocol import LIMIT, check, complete, decode, encode
from cnnlab.microscope.server import serve, serving
from cnnlab.microscope.worker import Job, Worker

SCENE = {"image": "a"}


class FakeMicroscope:
    """Canned replies; ``slow`` requests wait until they are cancelled or released."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.started = threading.Event()
        self.release = threading.Event()

    def handle(self, request: dict[str, Any], cancelled: Callable[[], bool]) -> dict[str, Any]:
        name = request.get("node", request["do"])
        self.asked.append(name)
        if name == "fault":
            raise ZeroDivisionError("a secret of somebody")
        if name == "none":
            raise ProtocolError("not_found", "There is no such node.")
        if name == "slow":
            self.started.set()
            while not self.release.wait(0.01):
                if cancelled():
                    raise ProtocolError("cancelled", "Given up.")
        return {"name": name, "map": np.zeros((200, 200) if name == "large" else (2, 2), np.float16)}


@pytest.fixture(scope="module", autouse=True)
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A page of three lines, so that these tests need no other."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "host_server.js").write_text("const x = 1;\n")
    (folder / "style.css").write_text(".microscope {}\n")
    (folder / "index.html").write_text((bundle.PAGE / "index.html").read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundle.script, "__defaults__", (folder,))
        patch.setattr(bundle.style, "__defaults__", (folder,))
        patch.setattr(bundle.page, "__defaults__", (folder,))
        yield


@pytest.fixture
def fake() -> FakeMicroscope:
    return FakeMicroscope()


@pytest.fixture
def address(fake: FakeMicroscope) -> Iterator[str]:
    with serving(fake.handle) as address:
        yield address
        fake.release.set()


class Client:
    """A page of the browser."""

    def __init__(self, address: str) -> None:
        parts = urllib.parse.urlsplit(address)
        self.port, self.path = parts.port or 0, f"{parts.path}?{parts.query}"
        self.token = urllib.parse.parse_qs(parts.query)["token"][0]

    def headers(self, **changes: str | None) -> dict[str, str]:
        own = {"Host": f"127.0.0.1:{self.port}", "Cnnlab-Token": self.token, "Cnnlab-Page": "p"}
        own |= {name.replace("_", "-"): value for name, value in changes.items()}  # type: ignore[dict-item]
        return {name: value for name, value in own.items() if value is not None}

    def send(
        self, method: str = "GET", path: str | None = None, body: Any = None, **headers: str | None
    ) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path or self.path, body, self.headers(**headers))
            response = connection.getresponse()
            return response.status, response.read(), {name.lower(): value for name, value in response.getheaders()}
        finally:
            connection.close()

    def ask(self, do: str, page: str = "p", **fields: Any) -> dict[str, Any]:
        status, data, _ = self.send("POST", "/ask", encode({"do": do, **fields}), Cnnlab_Page=page)
        assert status == 200
        return decode(data)

    def layer(self, node: str, page: str = "p", **fields: Any) -> dict[str, Any]:
        return self.ask("layer", page, scene=SCENE, node=node, **fields)


# What it answers -----------------------------------------------------------------------------------------------------


def test_the_page_and_its_parts(address: str) -> None:
    client = Client(address)
    status, text, headers = client.send()
    assert status == 200
    assert b'<script type="module" src="microscope.js"></script>' in text
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    status, text, headers = client.send(path="/microscope.js")
    assert (status, headers["content-type"].partition(";")[0]) == (200, "text/javascript")
    assert b"const x = 1;" in text
    assert client.send(path="/microscope.css")[1] == b".microscope {}\n"


def test_replies_are_packed_where_that_is_understood(address: str, fake: FakeMicroscope) -> None:
    client = Client(address)
    body = encode({"do": "layer", "scene": SCENE, "node": "large"})
    status, plain, headers = client.send("POST", "/ask", body)
    assert (status, "content-encoding" in headers) == (200, False)
    status, packed, headers = client.send("POST", "/ask", body, Accept_Encoding="gzip, deflate, br")
    assert (status, headers["content-encoding"]) == (200, "gzip")
    assert gzip.decompress(packed) == plain
    assert len(packed) < len(plain) / 10
    assert headers["content-security-policy"]


def test_it_listens_on_this_machine_only(address: str) -> None:
    port = Client(address).port
    (listening,) = {
        entry.laddr.ip
        for entry in psutil.Process().net_connections("inet")
        if entry.laddr.port == port and not entry.raddr
    }
    assert listening == "127.0.0.1"


def test_a_request_is_answered(address: str) -> None:
    reply = Client(address).layer("conv1", ticket=3)
    assert reply["name"] == "conv1"
    assert reply["map"].dtype == np.float16


def test_errors_are_error_bodies_and_never_tracebacks(address: str, caplog: pytest.LogCaptureFixture) -> None:
    client = Client(address)
    assert client.layer("none") == {"error": {"kind": "not_found", "message": "There is no such node."}}
    message = client.layer("fault")["error"]["message"]
    assert message == "layer failed with ZeroDivisionError: a secret of somebody"
    assert "Traceback" in caplog.text
    assert client.ask("layer")["error"]["kind"] == "bad_request"
    assert client.ask("nothing")["error"]["kind"] == "bad_request"
    assert client.layer("conv1")["name"] == "conv1"


# Whom it refuses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/?token=", "/?token=wrong", "/?token=%ff%fe", "/?token=" + "x" * 5000])
def test_the_page_needs_the_token(address: str, path: str) -> None:
    status, text, _ = Client(address).send(path=path)
    assert status == 403
    assert b"Open the address that `cnnlab look` printed" in text


@pytest.mark.parametrize("token", [None, "", "wrong", "\xff"])
def test_requests_need_the_token(address: str, fake: FakeMicroscope, token: str | None) -> None:
    status, data, _ = Client(address).send("POST", "/ask", encode({"do": "open"}), Cnnlab_Token=token)
    assert (status, decode(data)["error"]["kind"]) == (403, "bad_request")
    assert fake.asked == []


@pytest.mark.parametrize("path", ["/?token=TOKEN", "/microscope.js", "/ask"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"}, {"Host": "evil.example:PORT"}, {"Host": "127.0.0.1"}, {"Host": "127.0.0.1:1"},
        {"Host": "127.0.0.1.evil.example:PORT"}, {"Host": "localhost:PORT@evil.example"}, {"Host": ""},
        {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "https://127.0.0.1:PORT"},
        {"Origin": "http://127.0.0.1:1"}, {"Origin": "http://localhost:PORT.evil.example"}, {"Origin": ""},
    ],
    ids=str,
)  # fmt: skip
def test_other_hosts_and_origins_are_refused(
    address: str, fake: FakeMicroscope, path: str, headers: dict[str, str]
) -> None:
    client = Client(address)
    changed = {name: value.replace("PORT", str(client.port)) for name, value in headers.items()}
    method = "POST" if path == "/ask" else "GET"
    status, data, _ = client.send(method, path.replace("TOKEN", client.token), encode({"do": "open"}), **changed)
    assert status == 403
    if path == "/ask":
        assert decode(data)["error"]["kind"] == "bad_request"
    assert fake.asked == []


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST"])
def test_its_own_names_are_accepted(address: str, name: str) -> None:
    client = Client(address)
    host = f"{name}:{client.port}"
    status, data, _ = client.send("POST", "/ask", encode({"do": "open"}), Host=host, Origin=f"http://{host}")
    assert (status, decode(data)["name"]) == (200, "open")


def test_two_hosts_are_refused(address: str) -> None:
    client = Client(address)
    own = f"Host: 127.0.0.1:{client.port}\r\n"
    assert b" 400 " in raw(client, f"GET {client.path} HTTP/1.1\r\n{own}Host: evil.example\r\n\r\n".encode())
    assert b" 403 " in raw(client, f"GET {client.path} HTTP/1.0\r\n\r\n".encode())  # none at all


def raw(client: Client, data: bytes) -> bytes:
    """Send bytes and return the first line of the answer."""
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as connection:
        connection.sendall(data)
        return connection.recv(4096).partition(b"\r\n")[0]


@pytest.mark.parametrize(
    "path",
    ["/../../../../etc/passwd", "/%2e%2e/%2e%2e/pyproject.toml", "/microscope.js/../../server.py", "/page/main.js",
     "//etc/passwd", "/microscope.js%00.css", "/..%5c..%5cserver.py", "/main.js", "/index.html", "/favicon.ico"],
)  # fmt: skip
def test_there_is_nothing_at_other_paths(address: str, path: str) -> None:
    status, text, headers = Client(address).send(path=path)
    assert (status, text) == (404, b"Not Found")
    assert "content-security-policy" in headers


@pytest.mark.parametrize(("method", "path"), [("GET", "/ask"), ("PUT", "/ask"), ("POST", "/"), ("OPTIONS", "/ask")])
def test_other_methods_are_refused_without_permission_for_other_origins(address: str, method: str, path: str) -> None:
    status, _, headers = Client(address).send(method, path)
    assert status == 405
    assert not any(name.startswith("access-control") for name in headers)


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_sent(address: str) -> None:
    client = Client(address)
    head = "".join(f"{name}: {value}\r\n" for name, value in client.headers().items())
    assert b" 413 " in raw(client, f"POST /ask HTTP/1.1\r\n{head}Content-Length: {LIMIT + 1}\r\n\r\n".encode())
    assert b" 4" in raw(client, f"POST /ask HTTP/1.1\r\n{head}Content-Length: {'9' * 5000}\r\n\r\n".encode())


def test_a_body_that_does_not_say_its_size_is_refused_while_it_is_read(
    address: str, fake: FakeMicroscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LIMIT", 1_000_000)
    client, sent = Client(address), 0

    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as connection:
        head = "".join(f"{name}: {value}\r\n" for name, value in client.headers().items())
        connection.sendall(f"POST /ask HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        try:
            while sent < 100_000_000:
                connection.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")
                sent += 0x10000
        except OSError:
            pass  # the server closed the connection
        assert sent < 20_000_000  # what fits into buffers on the way
    assert fake.asked == []
    assert client.ask("open")["name"] == "open"


def test_several_large_bodies_at_once_are_bounded(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_READING", 1_500_000)
    client = Client(address)
    head = "".join(f"{name}: {value}\r\n" for name, value in client.headers().items())
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as first:
        first.sendall(f"POST /ask HTTP/1.1\r\n{head}Content-Length: 2000000\r\n\r\n".encode() + bytes(1_400_000))
        time.sleep(0.3)
        status, data, _ = client.send("POST", "/ask", bytes(200_000))
        assert (status, decode(data)["error"]["kind"]) == (503, "busy")
    time.sleep(0.3)
    status, data, _ = client.send("POST", "/ask", bytes(200_000))  # the first is gone, and what it held
    assert (status, decode(data)["error"]["kind"]) == (200, "bad_request")


def test_a_body_that_does_not_arrive_is_given_up(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_READ_SECONDS", 0.2)
    client = Client(address)
    head = "".join(f"{name}: {value}\r\n" for name, value in client.headers().items())
    assert b" 408 " in raw(client, f"POST /ask HTTP/1.1\r\n{head}Content-Length: 100\r\n\r\nabc".encode())


def test_large_headers_are_refused(address: str) -> None:
    client = Client(address)
    assert b" 400 " in raw(client, b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n")


@pytest.mark.parametrize("page", ["", "a b", "x" * 65, "ä", "../x"])
def test_an_id_of_a_page_is_checked(address: str, page: str) -> None:
    status, data, _ = Client(address).send("POST", "/ask", encode({"do": "open"}), Cnnlab_Page=page)
    assert (status, decode(data)["error"]["kind"]) == (400, "bad_request")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300) | st.binary(max_size=100).map(lambda tail: encode({"do": "open"})[:-3] + tail))
def test_malformed_bodies_are_refused_with_a_frame(address: str, data: bytes) -> None:
    status, answer, _ = Client(address).send("POST", "/ask", data)
    assert status == 200
    assert decode(answer).get("error", {}).get("kind", "fine") in ("bad_request", "fine")


# Many requests -------------------------------------------------------------------------------------------------------


def test_a_newer_request_of_a_lane_takes_the_place_of_the_older(address: str, fake: FakeMicroscope) -> None:
    client = Client(address)
    with ThreadPoolExecutor(8) as pool:
        running = pool.submit(client.layer, "slow", lane="layer")
        assert fake.started.wait(10)
        others = [pool.submit(client.layer, "other", lane="other"), pool.submit(client.layer, "two", "q", lane="layer")]
        none = pool.submit(client.layer, "no lane")
        time.sleep(0.3)
        newest = pool.submit(client.layer, "newest", lane="layer")
        assert running.result(10)["error"]["kind"] == "cancelled"
        assert newest.result(10)["name"] == "newest"
        assert sorted(one.result(10)["name"] for one in [*others, none]) == ["no lane", "other", "two"]


def test_a_request_that_a_newer_one_of_its_lane_overtook_is_given_up(fake: FakeMicroscope) -> None:
    """A browser sends the requests of a page over several connections, so that the older may arrive last."""

    def layer(page: str, node: str, lane: str, ticket: int) -> Job:
        return worker.submit(page, complete("layer", scene=SCENE, node=node, lane=lane, ticket=ticket))

    worker = Worker()
    newer, older = layer("p", "newer", "layer", 9), layer("p", "older", "layer", 5)
    assert older.obsolete()
    assert decode(older.reply.result(0))["error"]["kind"] == "cancelled"
    others = [layer("p", "lane", "other", 4), layer("q", "page", "layer", 4)]
    assert not any(job.obsolete() for job in (newer, *others))
    again = layer("p", "again", "layer", 9)  # a page may ask once more with the same ticket
    assert decode(newer.reply.result(0))["error"]["kind"] == "cancelled"
    worker.begin(fake.handle)
    assert [decode(job.reply.result(10))["name"] for job in (*others, again)] == ["lane", "page", "again"]
    worker.close()


def test_requests_that_come_late_do_not_disturb_the_newest_while_an_old_one_is_computed() -> None:
    started, release, computed = threading.Event(), threading.Event(), []

    def handle(request: dict[str, Any], cancelled: Callable[[], bool]) -> dict[str, Any]:
        started.set()
        release.wait(10)  # it does not notice that it was given up
        computed.append(request["node"])
        return {"name": request["node"]}

    worker = Worker(handle)
    oldest = worker.submit("p", complete("layer", scene=SCENE, node="oldest", lane="layer", ticket=1))
    assert started.wait(10)
    newest = worker.submit("p", complete("layer", scene=SCENE, node="newest", lane="layer", ticket=3))
    late = worker.submit("p", complete("layer", scene=SCENE, node="late", lane="layer", ticket=2))
    assert [decode(job.reply.result(0))["error"]["kind"] for job in (oldest, late)] == ["cancelled"] * 2
    release.set()
    assert decode(newest.reply.result(10))["name"] == "newest"
    assert computed == ["oldest", "newest"]
    worker.close()


def test_waiting_requests_of_a_lane_are_answered_at_once(address: str, fake: FakeMicroscope) -> None:
    client = Client(address)
    with ThreadPoolExecutor(8) as pool:
        slow = pool.submit(client.layer, "slow")
        assert fake.started.wait(10)
        waiting = pool.submit(client.layer, "old", lane="layer")
        time.sleep(0.3)
        pool.submit(client.layer, "new", lane="layer")
        assert waiting.result(10)["error"]["kind"] == "cancelled"  # while the slow one is still computed
        assert not slow.done()
        fake.release.set()
    assert "old" not in fake.asked


def test_a_request_is_cancelled_by_its_ticket(address: str, fake: FakeMicroscope) -> None:
    client = Client(address)
    with ThreadPoolExecutor(4) as pool:
        slow = pool.submit(client.layer, "slow", ticket=7)
        assert fake.started.wait(10)
        assert client.ask("cancel", "another-page", ticket=7) == {"cancelled": False}
        assert client.ask("cancel", ticket=8) == {"cancelled": False}
        assert client.ask("cancel", ticket=7) == {"cancelled": True}
        assert slow.result(10)["error"]["kind"] == "cancelled"


def test_a_closed_page_stops_its_computation(address: str, fake: FakeMicroscope) -> None:
    client = Client(address)
    body = encode({"do": "layer", "scene": SCENE, "node": "slow"})
    connection = http.client.HTTPConnection("127.0.0.1", client.port)
    connection.request("POST", "/ask", body, client.headers())
    assert fake.started.wait(10)
    connection.close()
    assert client.layer("next")["name"] == "next"


@pytest.mark.parametrize("count", [300, pytest.param(2000, marks=pytest.mark.slow)])
def test_many_quick_requests(address: str, fake: FakeMicroscope, caplog: pytest.LogCaptureFixture, count: int) -> None:
    caplog.set_level(logging.WARNING)
    client = Client(address)
    frame = encode({"do": "add_image", "name": "x", "file": np.zeros(20_000, np.uint8)})

    def bombard(number: int) -> list[str]:
        kinds = []
        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)
        for _ in range(count // 100):
            connection.request("POST", "/ask", frame, client.headers(Cnnlab_Page=f"page-{number % 7}"))
            response = connection.getresponse()
            assert response.status == 200
            kinds.append(str(decode(response.read()).get("error", {}).get("kind", "fine")))
        connection.close()
        return kinds

    slow = threading.Thread(target=client.layer, args=("slow",))
    slow.start()
    assert fake.started.wait(10)
    before = psutil.Process().memory_info().rss
    with ThreadPoolExecutor(100) as pool:
        futures = [pool.submit(bombard, i) for i in range(100)]
        time.sleep(1)
        fake.release.set()
        kinds = {kind for future in futures for kind in future.result(60)}
    slow.join(10)
    assert kinds == {"fine", "busy"}
    assert psutil.Process().memory_info().rss - before < 60 * 2**20
    assert caplog.records == []


# Starting and stopping -----------------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_refused_and_otherwise_another_is_chosen(fake: FakeMicroscope) -> None:
    with serving(fake.handle) as first:
        port = Client(first).port
        with pytest.raises(UsageError, match=f"Port {port} cannot be used"), serving(fake.handle, port):
            pass
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(server, "PORT", port)
            with serving(fake.handle, None) as second:
                assert Client(second).port != port
                assert Client(second).ask("open")["name"] == "open"
                assert Client(second).token != Client(first).token


def test_a_stopped_server_gives_up_its_computations(fake: FakeMicroscope) -> None:
    with ThreadPoolExecutor(2) as pool:
        began = 0.0
        with serving(fake.handle) as address:
            client = Client(address)
            slow = pool.submit(client.layer, "slow")
            assert fake.started.wait(10)
            began = time.perf_counter()
        assert time.perf_counter() - began < 5
        assert slow.result(10)["error"]["kind"] == "cancelled"
    with pytest.raises(OSError, match="refused"):
        client.send()


def test_a_stopped_server_closes_every_connection() -> None:
    def handle(request: dict[str, Any], cancelled: Callable[[], bool]) -> dict[str, Any]:
        return {"map": np.zeros((4000, 4000), np.float16)}  # more than the system takes of what nobody reads

    with serving(handle) as address:
        client = Client(address)
        head = "".join(f"{name}: {value}\r\n" for name, value in client.headers().items())
        head = f"POST /ask HTTP/1.1\r\n{head}Content-Length: "
        body = encode({"do": "open"})
        idle, half, unread = (socket.create_connection(("127.0.0.1", client.port), timeout=30) for _ in range(3))
        half.sendall(f"{head}100\r\n\r\n".encode() + b"the beginning")
        unread.sendall(f"{head}{len(body)}\r\n\r\n".encode() + body)
        assert unread.recv(12) == b"HTTP/1.1 200"
    for connection in (idle, half, unread):
        with connection:
            connection.settimeout(5)
            with suppress(ConnectionResetError):
                while connection.recv(1 << 20):
                    pass


def test_requests_wait_until_there_is_somebody_to_answer(fake: FakeMicroscope) -> None:
    worker = Worker()
    jobs = [worker.submit("p", check({"do": "open"})) for _ in range(2)]
    time.sleep(0.1)
    assert [job.reply.done() for job in jobs] == [False, False]
    worker.begin(fake.handle)
    assert [decode(job.reply.result(10))["name"] for job in jobs] == ["open", "open"]
    worker.close()


@pytest.mark.parametrize("before", [True, False], ids=["a page that waits", "a page that comes later"])
def test_a_page_is_told_why_the_network_cannot_be_opened(before: bool) -> None:
    announced: Future[str] = Future()
    asked = threading.Event()

    def opening() -> Any:
        assert asked.wait(10)
        raise ModelError("The weights are gone. Train again.")

    with ThreadPoolExecutor(2) as pool:
        ended = pool.submit(serve, opening, 0, announced.set_result, patience=0.0 if before else 10.0)
        client = Client(announced.result(10))
        assert client.send()[0] == 200  # the page itself is there at once
        if before:
            reply = pool.submit(client.ask, "open")
            time.sleep(0.2)
            assert not reply.done()
            asked.set()
        else:
            asked.set()
            time.sleep(0.2)
            assert not ended.done()
            reply = pool.submit(client.ask, "open")
        assert reply.result(10) == {"error": {"kind": "failed", "message": "The weights are gone. Train again."}}
        with pytest.raises(ModelError, match="The weights are gone"):
            ended.result(10)


def test_nobody_waits_for_a_page_that_nobody_opens() -> None:
    began = time.perf_counter()
    with pytest.raises(ModelError):
        serve(raise_model_error, 0, lambda address: None)
    assert time.perf_counter() - began < 5


def raise_model_error() -> Any:
    raise ModelError("The weights are gone.")


@pytest.mark.skipif(os.name == "nt", reason="Ctrl+C is another thing there")
def test_ctrl_c_stops_it_cleanly(tmp_path: Path) -> None:
    program = """if True:
        import signal
        from cnnlab.microscope.server import serve
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background processes ignore it
        def handle(request, cancelled):
            import time
            while not cancelled(): time.sleep(0.01)
            return {}
        try:
            serve(lambda: handle, 0, lambda address: print(address, flush=True))
        except KeyboardInterrupt:
            print("stopped")
    """
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    client = Client(process.stdout.readline().strip())
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(client.layer, "slow")
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
        assert slow.result(10) == {}
    assert (output, errors, process.returncode) == ("stopped\n", "", 0)
