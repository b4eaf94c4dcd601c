"""The plain data of a config before it is checked: its models, its chain of stages, the preset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from clear_pipeline.config_errors import found
from clear_pipeline.config_values import STAGE_KINDS
from clear_pipeline.errors import ConfigError
from clear_pipeline.llm.catalog import DEFAULT_MODEL, model_named
from clear_pipeline.yaml_source import YamlSource

USUAL_CHAIN = ("dedup", "score", "filter", "rectify")
"""What runs unless other stages are named."""
PAPER: Mapping[str, Mapping[str, Any]] = {
    "score": {"preset": "paper"},
    "filter": {"keep": {"above": "median"}},
    "rectify": {"scope": "all", "form": "sampled"},
}
"""Preset `paper` beyond the score: the constants of Chen & Mueller 2024."""


def models_of(given: object, source: YamlSource) -> dict[str, Any]:
    """The section `models`, with the embedded model as the scorer where none is named.

    Raises:
        ConfigError: It is no mapping of roles.
    """
    models = {} if given is None else given
    if not isinstance(models, dict):
        place = source.place(["models"])
        raise ConfigError(f"{place}: models: expected roles, as in scorer: {{model: NAME}}")
    scorer = models.get("scorer") or {"model": DEFAULT_MODEL}
    if not isinstance(scorer, dict):
        place = source.place(["models", "scorer"])
        shown = found(["models", "scorer"], scorer)
        raise ConfigError(
            f"{place}: models.scorer: expected a mapping, as in {{model: NAME}}{shown}"
        )
    return {**models, "scorer": scorer}


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over` in place of its own, mappings key by key; a copy."""
    result = deepcopy(dict(base))
    for key, value in over.items():
        old = result.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = merged(old, value) if both else value  # type: ignore[arg-type]
    return result


def chain_of(
    data: Mapping[str, Any], kinds: Sequence[str] | None, preset: str | None
) -> list[dict[str, Any]]:
    """The stage list: the file's stages, or defaults that suit the model, with the preset.

    Args:
        data: The config, its section `models` complete.
        kinds: Which stages, in order; None = the file's, else the usual ones.
        preset: Of the score; None = the file's, else one that suits the model.

    Raises:
        ConfigError: There is no such stage, or a kind stands twice.
    """
    given = data.get("stages") or []
    if not isinstance(given, list) or not all(isinstance(s, dict) for s in given):
        raise ConfigError("stages: expected a list of mappings, each with its kind")
    by_kind = {str(stage.get("kind")): stage for stage in given}
    if len(by_kind) < len(given):
        raise ConfigError("stages: a kind stands twice; a chain has each stage once")
    scorer = data["models"]["scorer"]
    embedded = model_named(str(scorer.get("model"))) if scorer.get("base_url") is None else None
    if kinds is None:
        kinds = list(by_kind) or [
            k for k in USUAL_CHAIN if k != "rectify" or embedded is None or embedded.can_judge
        ]
    unknown = [k for k in kinds if k not in {*STAGE_KINDS, *by_kind, "load", "export"}]
    if unknown:
        raise ConfigError(
            f"stages: no stage {unknown[0]!r}; there are load, {', '.join(STAGE_KINDS)}, export"
        )
    default = embedded.default_preset if embedded else "fast"
    return [
        _stage(kind, by_kind.get(kind, {}), preset, default=default)
        for kind in kinds
        if kind not in ("load", "export")
    ]


def _stage(
    kind: str, given: Mapping[str, Any], preset: str | None, *, default: str
) -> dict[str, Any]:
    """One stage: what is given over what the preset sets."""
    presets = deepcopy(PAPER.get(kind, {})) if preset == "paper" else {}
    stage = {"kind": kind, **presets, **given}
    if kind == "score":
        stage["preset"] = preset or stage.get("preset", default)
    return stage


def decontaminated(chain: list[dict[str, Any]], files: Sequence[Path]) -> list[dict[str, Any]]:
    """The chain with the benchmarks of the command line, compared first unless it says when."""
    if not files:
        return chain
    against = {"kind": "decontaminate", "against": [str(file) for file in files]}
    if any(stage["kind"] == "decontaminate" for stage in chain):
        return [stage | against if stage["kind"] == "decontaminate" else stage for stage in chain]
    return [against, *chain]


def calibrated(chain: list[dict[str, Any]], file: Path | None) -> list[dict[str, Any]]:
    """The chain with the calibration of the command line, after all stages that score."""
    if file is None:
        return chain
    later = STAGE_KINDS[STAGE_KINDS.index("calibrate") :]
    before = [stage for stage in chain if stage["kind"] not in later]
    after = [stage for stage in chain if stage["kind"] in later and stage["kind"] != "calibrate"]
    return [*before, {"kind": "calibrate", "file": str(file)}, *after]
