"""A key stays with the endpoint that it was given for, as do prices and rates with the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from clear_pipeline.errors import ConfigError
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.yaml_source import YamlSource

KEY_FIELDS: Final = ("api_key_env", "api_key_file")
"""Hold for one endpoint."""
MODEL_FIELDS: Final = (
    "price_per_mtok", "revision", "requests_per_minute", "tokens_per_minute",
)  # fmt: skip
"""Hold for one model at one endpoint."""


def leave_behind(
    models: object, source: YamlSource, flags: Mapping[str, Any], assignments: Sequence[str]
) -> None:
    """Where the command line names another endpoint or model, drop what the file says of its own.

    A key is not for the eyes of another endpoint; prices, revision and rates are not those of
    another model.

    Args:
        models: The section `models` of the merged config; changed in place.
        source: The file's own.
        flags: Values of the command line's options, by section.
        assignments: Those of `--set`.
    """
    old = source.data.get("models")
    if not isinstance(old, dict) or not isinstance(models, dict):
        return
    assigned = {assignment.partition("=")[0] for assignment in assignments}
    for role, model in models.items():
        before = old.get(role)
        if not isinstance(before, dict) or not isinstance(model, dict):
            continue
        moved = _root(model) != _root(before)
        other = moved or model.get("model") != before.get("model")
        if not other or f"models.{role}" in assigned:
            continue
        for field in (*MODEL_FIELDS, *(KEY_FIELDS if moved else ())):
            given = field in flags.get("models", {}).get(role, {})
            own = f"models.{role}.{field}"
            if not given and not any(f"{a}.".startswith(f"{own}.") for a in assigned):
                model.pop(field, None)


def require_key_files(models: Iterable[tuple[str, ModelSettings]], source: YamlSource) -> None:
    """Refuse a key file that is not there, before anything is written.

    Raises:
        ConfigError: Its name is not repeated, since a key may stand in its place.
    """
    for role, settings in models:
        file = settings.api_key_file
        if file is not None and not file.expanduser().is_file():
            place = source.place(["models", role, "api_key_file"])
            raise ConfigError(
                f"{place}: models.{role}.api_key_file: no such file; expected the path of a file "
                "that holds the key"
            )


def _root(model: Mapping[str, Any]) -> str:
    return str(model.get("base_url")).rstrip("/")
