"""The server of the microscope: a page and one address for requests, on this machine only.

It listens on 127.0.0.1. Requests need the token of the printed address. ``Host`` and ``Origin`` must be this server's,
so that no other page of the browser can ask, not even by a name that was made to point here (DNS rebinding). Bodies are
bounded while they are read.
"""

from __future__ import annotations

import asyncio
import errno
import hmac
import re
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cnnlab.errors import CnnlabError, ProtocolError, UsageError
from cnnlab.microscope import bundle
from cnnlab.microscope.protocol import LIMIT, Handle, check, decode, encode, error_frame
from cnnlab.microscope.worker import Worker

PORT = 8719  # taken where it is free, so that the browser remembers its permission for the camera
_HEADER_BYTES = 16 * 1024
_READING = 3 * LIMIT  # bytes of all bodies that are read or wait
_READ_SECONDS = 60.0
_PAGE_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
_STYLE = '<link rel="stylesheet" href="microscope.css">'
_SCRIPT = '<script type="module" src="microscope.js"></script>'


class _Guard:
    """Refuses requests whose ``Host`` or ``Origin`` is another, and adds the headers that protect the page."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._hosts = {f"{name}{suffix}" for name in ("127.0.0.1", "localhost") for suffix in _suffixes(port)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise CnnlabError(f"The server of the microscope speaks HTTP, not {scope['type']}.")

        async def send_protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        headers = [(name, value.decode("latin-1")) for name, value in scope["headers"]]
        hosts = [value for name, value in headers if name == b"host"]
        origins = [value for name, value in headers if name == b"origin"]
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            response = _refusal("another Host", scope["path"])
        elif any(origin.lower().removeprefix("http://") not in self._hosts for origin in origins):
            response = _refusal("another Origin", scope["path"])
        else:
            await self._app(scope, receive, send_protected)
            return
        await response(scope, receive, send_protected)


def _suffixes(port: int) -> list[str]:
    return [f":{port}", ""] if port == 80 else [f":{port}"]


def _refusal(reason: str, path: str) -> Response:
    """Return the answer to a request from elsewhere."""
    message = (
        f"Refused: {reason}. Open the address that `cnnlab look` printed; through a tunnel, use the same port on both "
        "sides."
    )
    if path == "/ask":
        return _frame(error_frame("bad_request", message), 403)
    return PlainTextResponse(message, 403)


def _frame(frame: bytes, status: int = 200) -> Response:
    headers = {} if status == 200 else {"Connection": "close"}  # what of the body is not read yet is not wanted
    return Response(frame, status, headers, media_type="application/octet-stream")


class _Desk:
    """The answers to the addresses of the server."""

    def __init__(self, worker: Worker, token: str) -> None:
        self._worker, self._token = worker, token.encode()
        self._reading = 0  # bytes

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode("utf-8", "replace"), self._token)

    async def page(self, request: Request) -> Response:
        if not self._is_token(request.query_params.get("token", "")):
            return _refusal("the token is missing or wrong", "/")
        return HTMLResponse(bundle.page(_STYLE, _SCRIPT))

    async def script(self, request: Request) -> Response:
        return Response(bundle.script("server"), media_type="text/javascript")

    async def style(self, request: Request) -> Response:
        return Response(bundle.style(), media_type="text/css")

    async def ask(self, request: Request) -> Response:
        if not self._is_token(request.headers.get("cnnlab-token", "")):
            return _refusal("the token is missing or wrong", "/ask")
        page = request.headers.get("cnnlab-page", "page")
        if not _PAGE_ID.fullmatch(page):
            return _frame(error_frame("bad_request", "Cnnlab-Page is no id of 1 to 64 letters, digits and -."), 400)
        body = bytearray()
        try:
            try:
                async with asyncio.timeout(_READ_SECONDS):
                    await self._read(request, body)
            except ProtocolError as error:
                return _frame(error_frame(error.kind, str(error)), 413 if error.kind == "too_large" else 503)
            except TimeoutError:
                return _frame(error_frame("failed", f"The request did not arrive in {_READ_SECONDS:.0f} s."), 408)
            try:
                return _frame(await self._answer(request, page, bytes(body)))
            except ProtocolError as error:  # the browser logs every other status as an error of the page
                return _frame(error_frame(error.kind, str(error)))
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        finally:
            self._reading -= len(body)

    async def _read(self, request: Request, body: bytearray) -> None:
        """Read the body of a request.

        Raises:
            ProtocolError: it is too large, or says so (``too_large``), or others are being read already (``busy``).
        """
        too_large = ProtocolError("too_large", f"The request has more than {LIMIT:,} bytes. Send a smaller picture.")
        if int(request.headers.get("content-length", "0")) > LIMIT:
            raise too_large
        async for chunk in request.stream():
            if len(body) + len(chunk) > LIMIT:
                raise too_large
            if self._reading + len(chunk) > _READING:
                raise ProtocolError("busy", "Other large requests are being read. Try again in a moment.")
            self._reading += len(chunk)
            body += chunk

    async def _answer(self, request: Request, page: str, body: bytes) -> bytes:
        asked = check(decode(body))
        if asked["do"] == "cancel":
            return encode({"cancelled": self._worker.cancel(page, asked["ticket"])})
        job = self._worker.submit(page, asked)
        reply = asyncio.wrap_future(job.reply)
        gone = asyncio.create_task(_disconnected(request))
        try:
            await asyncio.wait([reply, gone], return_when=asyncio.FIRST_COMPLETED)  # type: ignore[type-var]
            if not reply.done():
                raise ClientDisconnect
            return reply.result()
        finally:
            gone.cancel()
            if not reply.done():
                self._worker.forget(job)


async def _disconnected(request: Request) -> None:
    """Return when the connection of a request, whose body was read, is closed."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def make_app(worker: Worker, token: str, port: int) -> ASGIApp:
    """Return the application that answers on a port.

    Args:
        worker: the thread that computes.
        token: the secret that requests have to name.
        port: port of the server, which ``Host`` and ``Origin`` have to name.
    """
    desk = _Desk(worker, token)
    routes = [
        Route("/", desk.page, methods=["GET"]),
        Route("/microscope.js", desk.script, methods=["GET"]),
        Route("/microscope.css", desk.style, methods=["GET"]),
        Route("/ask", desk.ask, methods=["POST"]),
    ]
    packing = Middleware(GZipMiddleware, minimum_size=1024, compresslevel=1)  # higher levels save next to nothing
    return _Guard(Starlette(routes=routes, middleware=[packing]), port)


# Running -------------------------------------------------------------------------------------------------------------


class _Server(uvicorn.Server):
    """Closes what is still open at its end: a page that reads no more, or came while the server was being stopped."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # the transports close their sockets in the next turn of the loop


def serve(
    opening: Callable[[], Handle], port: int | None = None, announce: Callable[[str], None] = print, *,
    patience: float = 0.0,
) -> None:  # fmt: skip
    """Serve a microscope until Ctrl+C; the page is there while the network is still being opened.

    Args:
        opening: a function that opens the network and returns the function that computes,
            :meth:`cnnlab.microscope.session.Microscope.handle`. It runs in this thread, while requests wait.
        port: the port; by default 8719, or any free one where that is taken.
        announce: a function that gets the address, with the token, as soon as it answers.
        patience: seconds to wait for a page that can be told why ``opening`` failed.

    Raises:
        UsageError: the port is taken or may not be used.
        CnnlabError: from ``opening``; the page was told.
        KeyboardInterrupt: somebody pressed Ctrl+C; the server is stopped by then.
    """
    with _running(port) as (worker, address, ended):
        announce(address)
        try:
            handle = opening()
        except Exception as error:
            _tell(worker, error, patience)
            raise
        worker.begin(handle)
        while not ended.wait(1.0):  # on Windows a wait without end cannot be interrupted
            pass


def _tell(worker: Worker, error: Exception, patience: float) -> None:
    """Answer the requests of a page with an error, and wait some seconds until one has come."""
    told = threading.Event()

    def handle(request: Mapping[str, Any], cancelled: Callable[[], bool]) -> dict[str, Any]:
        told.set()
        raise error

    waiting = worker.is_awaited
    worker.begin(handle)
    told.wait(max(patience, 2.0) if waiting else patience)


@contextmanager
def serving(handle: Handle, port: int | None = 0) -> Iterator[str]:
    """Serve a microscope in a thread while the block runs; yield the address with the token.

    Args:
        handle: the function that computes, :meth:`cnnlab.microscope.session.Microscope.handle`.
        port: the port; 0 for any free one.

    Raises:
        UsageError: the port is taken or may not be used.
    """
    with _running(port) as (worker, address, _):
        worker.begin(handle)
        yield address


@contextmanager
def _running(port: int | None) -> Iterator[tuple[Worker, str, threading.Event]]:
    """Run a server in a thread while the block runs; yield who computes, the address, and what is set at its end.

    Raises:
        UsageError: the port is taken or may not be used.
    """
    with _listening(port) as listener:
        port, token, worker = listener.getsockname()[1], secrets.token_urlsafe(24), Worker()
        config = uvicorn.Config(
            make_app(worker, token, port), http="h11", ws="none", lifespan="off", log_config=None, access_log=False,
            log_level="critical", proxy_headers=False, server_header=False, h11_max_incomplete_event_size=_HEADER_BYTES,
            timeout_graceful_shutdown=2,
        )  # fmt: skip
        server = _Server(config)
        ended = threading.Event()  # a thread whose join() was interrupted passes for ended

        def run() -> None:
            try:
                server.run(sockets=[listener])
            finally:
                ended.set()

        threading.Thread(target=run, name="microscope server", daemon=True).start()
        try:
            yield worker, f"http://127.0.0.1:{port}/?token={token}", ended
        finally:
            server.should_exit = True
            worker.close()
            ended.wait(10)


def _listening(port: int | None) -> socket.socket:
    """Return a socket that listens on this machine only.

    Raises:
        UsageError: the port is taken or may not be used.
    """
    for wanted in [port] if port is not None else [PORT, 0]:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", wanted))
        except OSError as error:
            listener.close()
            if port is None and wanted and error.errno == errno.EADDRINUSE:
                continue
            raise UsageError(
                f"Port {wanted} cannot be used: {error.strerror}. Leave --port away for one that is free."
            ) from None
        listener.listen(128)
        return listener
    raise UsageError("No port of this machine is free.")
