"""One setting that a search varies: a list of values, or a range."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeAlias

from pydantic import Field, ValidationError, model_validator

from clear_pipeline.errors import ConfigError
from clear_pipeline.finetune.base import SearchableTrainer, Trainer
from clear_pipeline.settings import Settings

Value: TypeAlias = bool | int | float | str | None
POINTS: Final = 3
"""Of a range on a grid, unless it is told."""
_END: Final = 0.05
_DIGITS: Final = 6
"""Significant digits of a point of a range."""


class Range(Settings):
    """All numbers from `low` to `high`, as a config has it."""

    low: Annotated[float, Field(allow_inf_nan=False)]
    high: Annotated[float, Field(allow_inf_nan=False)]
    log: bool = False
    """Equal ratios count as equal distances."""
    points: Annotated[int, Field(ge=2)] | None = None
    """Only so many values, evenly spaced, ends among them."""

    @model_validator(mode="after")
    def _upright(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low is {self.low:g} and high is {self.high:g}: low must be lower")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low:g}: a logarithmic range begins above 0")
        return self

    def spaced(self, points: int, *, whole: bool) -> tuple[float, ...]:
        """Evenly spaced values; of whole numbers those that are different."""
        low, high = (math.log(v) if self.log else v for v in (self.low, self.high))
        even = [low + (high - low) * i / (points - 1) for i in range(points)]
        values = [math.exp(v) if self.log else v for v in even]
        if whole:
            return tuple(dict.fromkeys(round(v) for v in values))
        return tuple(float(f"{v:.{_DIGITS}g}") for v in values)


@dataclass(frozen=True, slots=True)
class Axis:
    """A setting with the values that it may have.

    Attributes:
        name: Of the setting.
        values: All of them, in order; empty for a range.
        range: Where it is one.
        whole: Whether the numbers of the range are whole.
    """

    name: str
    values: tuple[Value, ...] = ()
    range: Range | None = None
    whole: bool = False

    def described(self) -> dict[str, Any] | list[Value]:
        """As a config has it."""
        return list(self.values) if self.range is None else self.range.model_dump()

    def holds(self, value: object) -> bool:
        """Whether the search may come to a value."""
        if self.range is None:
            return value in self.values
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        return self.range.low <= value <= self.range.high

    def at_edge(self, value: object) -> bool:
        """Whether a value is an end of what was searched, beyond which there may be better.

        In a range a twentieth of its length counts as its end.
        """
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        if self.range is None:
            numbers = [v for v in self.values if isinstance(v, int | float)]
            return len(numbers) == len(self.values) > 1 and value in (min(numbers), max(numbers))
        scale = math.log if self.range.log else float
        low, high, at = (scale(v) for v in (self.range.low, self.range.high, value))
        return not _END < (at - low) / (high - low) < 1 - _END


def axis_of(
    name: str, given: object, trainer: SearchableTrainer, *, gridded: bool, place: str
) -> Axis:
    """What a config says of one setting.

    Args:
        name: Of the setting.
        given: A list of values or the fields of a `Range`.
        trainer: Whose setting it is.
        gridded: Whether a range stands for a few of its values.
        place: For errors.

    Raises:
        ConfigError: There is no such setting, it cannot be varied, or it cannot have such values.
    """
    _require_setting(name, trainer, place)
    if isinstance(given, Mapping):
        found = _range(given, place)
        low = checked(trainer, name, found.low, place)
        checked(trainer, name, found.high, place)
        whole = isinstance(low, int)
        points = found.points or (POINTS if gridded else None)
        if points is None:
            return Axis(name, range=found, whole=whole)
        values: Iterable[Value] = found.spaced(points, whole=whole)
    elif isinstance(given, list | tuple) and given:
        values = given
    else:
        raise ConfigError(f"{place}: expected a list of values, or {{low: ..., high: ...}}")
    fitting = [checked(trainer, name, value, place) for value in values]
    if endless := [v for v in fitting if isinstance(v, float) and not math.isfinite(v)]:
        raise ConfigError(f"{place}: expected finite numbers, found {endless[0]}")
    return Axis(name, tuple(dict.fromkeys(fitting)))


def with_values(trainer: Trainer, values: Mapping[str, Value]) -> Trainer:
    """The trainer with other settings.

    Raises:
        ValidationError: They are out of range, or contradict each other.
    """
    assert isinstance(trainer, Settings)  # noqa: S101  # as every trainer is
    made = type(trainer).model_validate({**trainer.model_dump(), **values})
    assert isinstance(made, Trainer)  # noqa: S101
    return made


def checked(trainer: Trainer, name: str, value: Value, place: str) -> Value:
    """A value as the setting has it: a number for the text `1e-4`, as YAML reads that.

    Raises:
        ConfigError: The setting cannot have it.
    """
    try:
        fitting: Value = getattr(with_values(trainer, {name: value}), name)
    except ValidationError as error:
        own = [each for each in error.errors() if each["loc"][:1] == (name,)]
        if own:
            raise ConfigError(f"{place}: {own[0]['msg']}, found {value!r}") from None
        return value  # it may fit other values of other settings
    return fitting


def _require_setting(name: str, trainer: SearchableTrainer, place: str) -> None:
    assert isinstance(trainer, Settings)  # noqa: S101  # as every trainer is
    if name in trainer.unsearchable:
        raise ConfigError(f"{place}: cannot be searched: {trainer.unsearchable[name]}")
    known = [field for field in type(trainer).model_fields if field != "kind"]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        searchable = ", ".join(field for field in known if field not in trainer.unsearchable)
        raise ConfigError(f"{place}: {trainer.name} has no such setting; {hint}It has {searchable}")


def _range(given: Mapping[Any, Any], place: str) -> Range:
    try:
        return Range.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        said = str(first["ctx"]["error"]) if first["type"] == "value_error" else first["msg"]
        where = "".join(f".{part}" for part in first["loc"])
        raise ConfigError(f"{place}{where}: {said}") from None
