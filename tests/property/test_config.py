"""Config files of any shape: a config, or an error in words."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from clear_pipeline.config import Config, build_config
from clear_pipeline.errors import ConfigError

KEYS = st.sampled_from(
    ["models", "scorer", "judge", "model", "base_url", "load", "limit", "map", "stages", "kind",
     "dedup", "score", "filter", "rectify", "keep", "above", "count", "k", "scope", "export", "x"]
)  # fmt: skip
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 9), st.floats(), st.text(max_size=4), KEYS
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.integers(), inner),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.dictionaries(KEYS, VALUES, max_size=4) | VALUES)
@example(content={"score": {"k": 2}})
@example(content={"models": {"score": {"model": 1}}})
@example(content={"stages": [{"kind": "score", "score": 1}]})
def test_a_config_of_any_shape_is_one_or_an_error(content: object, tmp_path: Path) -> None:
    """Nothing but a `ConfigError` leaves."""
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(content))
    with suppress(ConfigError):
        assert isinstance(build_config(path), Config)
