"""A key stays with the endpoint that it was given for, and its file is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from clear_pipeline.errors import ConfigError
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.yaml_source import YamlSource

KEY_FIELDS: Final = ("api_key_env", "api_key_file")


def leave_keys(
    models: object, source: YamlSource, flags: Mapping[str, Any], assignments: Sequence[str]
) -> None:
    """Where the command line names another endpoint, the file's key is not for its eyes.

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
        if _root(model) == _root(before) or f"models.{role}" in assigned:
            continue
        for field in KEY_FIELDS:
            given = field in flags.get("models", {}).get(role, {})
            if not given and f"models.{role}.{field}" not in assigned:
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
