"""Where a question goes: to the endpoint itself, or to the proxy that the environment names."""

import pytest

from clear_pipeline.llm.post import proxy_of

PROXIES = {
    "http_proxy": "http://p:1",
    "https_proxy": "http://p:2",
    "no_proxy": "localhost,.own.net",
}


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("https://api.openai.com/v1", "http://p:2"),
        ("http://gpu.lab:8000/v1", "http://p:1"),
        ("http://localhost:8000/v1", None),
        ("https://vllm.own.net/v1", None),
        ("http://bare.lab/v1", "http://p:1"),
    ],
)
def test_proxy_is_the_one_of_the_scheme_unless_the_host_is_excepted(
    monkeypatch: pytest.MonkeyPatch, url: str, proxy: str | None
) -> None:
    """As curl reads HTTP_PROXY, HTTPS_PROXY and NO_PROXY."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert proxy_of(url) is None
    for name, value in PROXIES.items():
        monkeypatch.setenv(name, value.removeprefix("http://") if "bare" in url else value)
    assert proxy_of(url) == proxy


def test_one_proxy_may_serve_all_schemes(monkeypatch: pytest.MonkeyPatch) -> None:
    """ALL_PROXY counts where the scheme has none of its own."""
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("all_proxy", "http://p:3")
    assert proxy_of("http://gpu.lab/v1") == "http://p:3"
