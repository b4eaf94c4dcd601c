"""Values of the command line, `--set a.b=value`, on their way into a config."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

import yaml

from clear_pipeline.errors import ConfigError
from clear_pipeline.yaml_source import NO_VALUE, no_value

STAGE_KINDS = (
    *("decontaminate", "embed", "dedup", "score", "cascade", "calibrate", "second_opinion"),
    *("filter", "rectify"),
)
"""Every stage, in the order of a chain."""
_PATH = re.compile(r"[\w.-]*")
"""What a message repeats of an assignment: its value may be a key."""


def assign(data: dict[str, Any], assignment: str) -> None:
    """Put the value of `--set PATH=VALUE` into the config's plain data, in place.

    Raises:
        ConfigError: It is no assignment, or there is no such place.
    """
    path, equals, text = assignment.partition("=")
    if not equals or not path:
        raise ConfigError(f"--set {_PATH.match(assignment)[0]}: expected a.b=value")  # type: ignore[index]
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {path}: the value is not YAML") from error
    except NO_VALUE as error:
        raise ConfigError(f"--set {path}: {no_value(error)}") from error
    *parents, last = path.split(".")
    if parents and parents[0] in STAGE_KINDS:
        parents.insert(0, "stages")
    node: Any = data
    for name in parents:
        node = _step(node, name, path)
    if not isinstance(node, dict):
        raise ConfigError(f"--set {path}: {'.'.join(parents)} is no mapping")
    node[last] = value
    if parents and parents[-1] == "keep":
        node_keys = [key for key in node if key != last]
        for key in node_keys:
            del node[key]


def _step(node: Any, name: str, path: str) -> Any:  # noqa: ANN401
    if isinstance(node, list):
        kinds = [stage.get("kind") if isinstance(stage, dict) else stage for stage in node]
        if name in kinds:
            return node[kinds.index(name)]
        raise ConfigError(f"--set {path}: {_no_stage(name, list(map(str, kinds)))}")
    if not isinstance(node, dict):
        raise ConfigError(f"--set {path}: {name!r} is below a plain value")
    return node.setdefault(name, {})


def _no_stage(name: str, there: Sequence[str]) -> str:
    """What to do about a stage that the run has not."""
    missing = f"no stage {name!r} in this run ({', '.join(there)})"
    if name in STAGE_KINDS:
        chain = [kind for kind in STAGE_KINDS if kind in {*there, name}]
        return f"{missing}; to have it: --stages {','.join(chain)}"
    near = difflib.get_close_matches(name, STAGE_KINDS, n=1)
    return f"{missing}; " + (
        f"did you mean {near[0]!r}?" if near else f"there are {', '.join(STAGE_KINDS)}"
    )
