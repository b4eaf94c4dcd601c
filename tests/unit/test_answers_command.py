"""The command that compares what two models answer to general rows."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from clear_pipeline.finetune.general import answers_command
from clear_pipeline.llm.settings import ModelSettings


@pytest.mark.parametrize("key", [{"api_key_env": "TUNING_KEY"}, {"api_key_file": "key.txt"}])
def test_the_command_names_the_key(tmp_path: Path, key: dict[str, Any]) -> None:
    """Both models are asked with the key that the training had."""
    after = ModelSettings(model="ft:m", base_url="http://h/v1", **key)
    words = shlex.split(answers_command(tmp_path / "data" / "general.jsonl", "m", after))
    ((name, value),) = key.items()
    option = "--" + name.replace("_", "-")
    assert words[-4:] == ["--base-url", "http://h/v1", option, value]
