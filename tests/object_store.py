"""A real S3 server on loopback, behind a wire that counts, cuts and waits for nobody."""

from __future__ import annotations

import re
import select
import socket
import socketserver
import threading
import urllib.request
from collections.abc import Callable
from typing import Self
from urllib.parse import quote, unquote

from moto.server import ThreadedMotoServer

_SIGNED = (
    "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, "
    "Signature=0"
)
_REQUEST = re.compile(rb"(GET|HEAD|PUT|POST|DELETE) (\S+) HTTP/1")


class ObjectStore:
    """moto as an S3 server. What is asked of it goes through `Wire`.

    Attributes:
        fetched: Keys of the objects whose bytes were asked for, once each request.
        broken: Keys whose bytes break off in the middle.
        when_fetched: Called when the bytes of that key are asked for, once.
    """

    def __init__(self) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._buckets = 0
        self.bucket = ""
        self.fetched: list[str] = []
        self.broken: set[str] = set()
        self.when_fetched: dict[str, Callable[[], None]] = {}

    def __enter__(self) -> Self:
        self._server.start()
        self.address = self._server.get_host_and_port()
        self.ask("POST", "moto-api/reset")  # its buckets are one set for the whole process
        self._wire = Wire(self)
        threading.Thread(target=self._wire.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.shutdown()
        self._wire.server_close()
        self._server.stop()

    @property
    def url(self) -> str:
        """Of the wire."""
        return f"http://127.0.0.1:{self._wire.server_address[1]}"

    def environment(self) -> dict[str, str]:
        """Variables with which a client finds it, and asks nobody else."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret-never-written",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def new_bucket(self) -> None:
        """Begin anew, in an empty bucket."""
        self._buckets += 1
        self.bucket = f"bucket-{self._buckets}"
        self.fetched, self.broken, self.when_fetched = [], set(), {}
        self.ask("PUT", self.bucket)

    def put(self, key: str, data: bytes) -> None:
        """Write an object, past the wire."""
        self.ask("PUT", f"{self.bucket}/{key}", data)

    def get(self, key: str) -> bytes:
        """Read an object, past the wire."""
        return self.ask("GET", f"{self.bucket}/{key}")

    def objects(self) -> list[str]:
        """All objects of the bucket."""
        listing = self.ask("GET", self.bucket).decode()
        return re.findall(r"<Key>(.*?)</Key>", listing)

    def forbid(self, *, everything: bool) -> None:
        """Let nobody in, or everybody."""
        self.ask("POST", "moto-api/reset-auth", b"0" if everything else b"inf")

    def ask(self, method: str, path: str, data: bytes | None = None) -> bytes:
        """Ask moto, past the wire."""
        host, port = self.address
        url = f"http://{host}:{port}/{quote(path)}"
        headers = {"Content-Type": "application/octet-stream", "Authorization": _SIGNED}
        request = urllib.request.Request(url, data=data, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as response:
            return bytes(response.read())

    def notice(self, data: bytes) -> bool:
        """Look at what a client sends; returns whether the answer is to break off."""
        cut = False
        for method, target in _REQUEST.findall(data):
            path, _, query = target.decode().partition("?")
            key = unquote(path).removeprefix(f"/{self.bucket}/")
            if method == b"GET" and "list-type" not in query:
                self.fetched.append(key)
                cut = cut or key in self.broken
                self.when_fetched.pop(key, lambda: None)()
        return cut


class Wire(socketserver.ThreadingTCPServer):
    """Hands bytes to and fro between a client and moto."""

    daemon_threads = True

    def __init__(self, store: ObjectStore) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.store = store


class _Connection(socketserver.BaseRequestHandler):
    server: Wire

    def handle(self) -> None:
        with socket.create_connection(self.server.store.address) as service:
            cut = False
            while True:
                ready, _, _ = select.select([self.request, service], [], [])
                for end in ready:
                    data = end.recv(1 << 16)
                    if not data:
                        return
                    if end is self.request:
                        cut = self.server.store.notice(data)
                        service.sendall(data)
                    elif cut:
                        head, gap, body = data.partition(b"\r\n\r\n")
                        self.request.sendall(head + gap + body[: len(body) // 2])
                        return
                    else:
                        self.request.sendall(data)
