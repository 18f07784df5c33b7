"""Serves the page to this machine alone."""

import hashlib
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from fer_tf.errors import UserError
from fer_tf.realtime.web.site import HEADERS, TYPES

_ADDRESS = "127.0.0.1"
_TEXT = {"Content-Type": TYPES[".txt"]}


def open_server(files: Mapping[str, Path], port: int = 0) -> ThreadingHTTPServer:
    """Opens a server on the loopback interface; `serve_forever` runs it.

    It serves the files of a table, read now, and nothing else: no path from a request is ever opened.

    Args:
        files: Files by their addresses, without a slash in front.
        port: Where it listens; 0 lets the system choose.

    Raises:
        UserError: if the port is taken or needs more rights.
    """
    contents = {name: path.read_bytes() for name, path in files.items()}
    try:
        server = ThreadingHTTPServer((_ADDRESS, port), partial(_Handler, contents))
    except OSError as error:
        raise UserError(
            f"port {port} cannot be used ({error.strerror}); choose another --port, or leave it out"
        ) from None
    server.daemon_threads = True
    return server


def address_of(server: ThreadingHTTPServer) -> str:
    """Returns the address to type into a browser."""
    return f"http://{_ADDRESS}:{server.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection.

    Args:
        contents: What is served, by address.
        *connection: From the server.
    """

    protocol_version = "HTTP/1.1"
    timeout = 60
    server: ThreadingHTTPServer

    def __init__(self, contents: Mapping[str, bytes], *connection: Any):
        self._contents = contents
        super().__init__(*connection)

    def do_GET(self) -> None:
        """Sends a file."""
        self._answer(with_content=True)

    def do_HEAD(self) -> None:
        """Sends its headers."""
        self._answer(with_content=False)

    def _answer(self, *, with_content: bool) -> None:
        # Another site may point its own name at this address (DNS rebinding); only our names are answered.
        if self.headers.get("Host") not in {f"{name}:{self.server.server_port}" for name in (_ADDRESS, "localhost")}:
            self._send(HTTPStatus.FORBIDDEN, b"unknown host\n", with_content=with_content)
            return
        name = self.path.partition("?")[0].removeprefix("/") or "index.html"
        if name not in self._contents:
            self._send(HTTPStatus.NOT_FOUND, b"no such file\n", with_content=with_content)
            return
        content = self._contents[name]
        tag = {"ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"'}
        if self.headers.get("If-None-Match") == tag["ETag"]:
            self._send(HTTPStatus.NOT_MODIFIED, b"", tag, with_content=False)
            return
        kind = {"Content-Type": TYPES[Path(name).suffix]}
        self._send(HTTPStatus.OK, content, tag | kind, with_content=with_content)

    def _send(
        self, status: HTTPStatus, content: bytes, headers: Mapping[str, str] = _TEXT, *, with_content: bool
    ) -> None:
        self.send_response(status)
        length = {} if status == HTTPStatus.NOT_MODIFIED else {"Content-Length": str(len(content))}
        for key, value in {**HEADERS, **headers, **length}.items():
            self.send_header(key, value)
        self.end_headers()
        if with_content:
            try:
                self.wfile.write(content)
            except (BrokenPipeError, ConnectionResetError):  # the browser went on to another page
                self.close_connection = True

    def version_string(self) -> str:
        """Returns what the server calls itself: nothing that tells versions."""
        return "fer-tf"

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing."""
