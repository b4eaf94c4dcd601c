"""YAML with places: parse a config file so that an error can name its line and column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from clear_pipeline.errors import ConfigError


@dataclass(frozen=True, slots=True)
class YamlSource:
    """A parsed file: its data, and where each value stands."""

    path: Path
    data: dict[str, Any]
    root: yaml.Node | None

    def place(self, location: Sequence[str | int]) -> str:
        """`file:line:column` of the deepest part of `location` that the file has."""
        node, mark = self.root, None
        for step in location:
            child = _child(node, step)
            if child is not None:
                node, mark = child
        if mark is None:
            return str(self.path)
        return f"{self.path}:{mark.line + 1}:{mark.column + 1}"

    def section(self, name: str) -> YamlSource:
        """What stands under one key, as if it were a file; empty where the key is not there.

        Raises:
            ConfigError: No mapping stands there.
        """
        data = self.data.get(name)
        if data is None:
            return YamlSource(self.path, {}, None)
        if not isinstance(data, dict):
            raise ConfigError(f"{self.place([name])}: {name}: expected a mapping of settings")
        child = _child(self.root, name)
        return YamlSource(self.path, data, None if child is None else child[0])

    def without(self, *names: str) -> YamlSource:
        """The same without these keys at the top."""
        data = {name: value for name, value in self.data.items() if name not in names}
        return YamlSource(self.path, data, self.root)


NO_VALUE: Final = (ValueError, RecursionError)
"""What YAML's reader raises, besides its own errors, where it makes no value of a text."""
COMMAND_LINE = YamlSource(Path("command line"), {}, None)
"""Stands for a file where there is none."""


def _child(node: yaml.Node | None, step: str | int) -> tuple[yaml.Node, yaml.Mark] | None:
    """The value under a key or index, and the mark to show for it (the key's, if it has one)."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return value, key.start_mark
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        value = node.value[step]
        return value, value.start_mark
    return None


def read_yaml(path: Path) -> YamlSource:
    """Parse a YAML mapping.

    Raises:
        ConfigError: The file cannot be read or parsed, is no mapping, or names a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
        if isinstance(data, dict):
            _refuse_repeated_keys(path, root)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise ConfigError(f"{where}: not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    except NO_VALUE as error:
        raise ConfigError(f"{path}: not valid YAML: {no_value(error)}") from error
    if data is None:
        return YamlSource(path, {}, None)
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping at the top, found {type(data).__name__}")
    return YamlSource(path, data, root)


def no_value(error: Exception) -> str:
    """What is wrong where one of `NO_VALUE` is raised."""
    if isinstance(error, RecursionError):
        return "nested too deep, or in itself"
    return "a value looks like a number or a date and is none; put it between quotes"


def _refuse_repeated_keys(path: Path, node: yaml.Node | None) -> None:
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _refuse_repeated_keys(path, child)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if str(key.value) in seen:
                mark = key.start_mark
                raise ConfigError(
                    f"{path}:{mark.line + 1}:{mark.column + 1}: key {key.value!r} stands twice"
                )
            seen.add(str(key.value))
            _refuse_repeated_keys(path, value)
