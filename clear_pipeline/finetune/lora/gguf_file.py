"""Writing a trained model as GGUF: the file that it came from, with other weights.

Names and layout of tensors differ between the two worlds. The names are those of the `gguf`
package. Of the layouts one differs: llama's queries and keys, whose rows are interleaved for the
rotary embedding. `require_faithful` makes sure, tensor by tensor, that this is all.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from gguf import (
    GGMLQuantizationType,
    GGUFReader,
    GGUFValueType,
    GGUFWriter,
    ReaderTensor,
    dequantize,
    get_tensor_name_map,
    quantize,
)
from gguf.constants import MODEL_ARCH_NAMES, LlamaFileType
from transformers import PreTrainedModel

from clear_pipeline.durable import write_atomically
from clear_pipeline.errors import UsageError

Precision: TypeAlias = Literal["f16", "f32", "q8_0"]
F32 = npt.NDArray[np.float32]

_TYPES: Final = {
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "f32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}
_OWN: Final = ("GGUF.", "general.architecture", "general.file_type")
"""Fields that the writer sets."""


def require_faithful(model: PreTrainedModel, source: Path) -> None:
    """Make sure that `write_gguf` would write the untrained model as it was read.

    Raises:
        UsageError: The layout of a tensor of this architecture is not known.
    """
    arrays = _Arrays(model, source)
    for tensor in arrays.reader.tensors:
        array = arrays.of(tensor)
        if array is not None and not np.array_equal(array, _values(tensor)):
            raise UsageError(
                f"{source}: {tensor.name} of architecture {arrays.architecture} is laid out in a "
                "way that cannot be written back; train a model of another architecture"
            )
    if left := arrays.unwritten():
        raise UsageError(f"{source}: has no place for {left[0]}; train another model")


def write_gguf(model: PreTrainedModel, source: Path, out: Path, precision: Precision) -> None:
    """Write the weights of a plain model, with everything else as `source` has it.

    Args:
        model: Read from `source`; feed-forward layers may have become wider.
        source: GGUF.
        out: The file; it is there as a whole or not at all.
        precision: Of matrices; vectors are f32.

    Raises:
        UnwritableError: A full disk, or no leave to write there.
    """

    def write(path: Path) -> None:
        arrays = _Arrays(model, source)
        type_, file_type = _TYPES[precision]
        writer = GGUFWriter(path, arrays.architecture)
        for field in arrays.reader.fields.values():
            if not field.name.startswith(_OWN):
                _copy(writer, field, width=model.config.intermediate_size)
        writer.add_file_type(file_type)
        for name, array, raw in arrays:
            if raw is not None:
                writer.add_tensor(name, array, raw_dtype=raw)
            else:
                own = type_ if array.ndim > 1 else GGMLQuantizationType.F32
                writer.add_tensor(name, quantize(array, own), raw_dtype=own)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    write_atomically(out, write)


class _Arrays:
    """The tensors of a model under the names and in the order of a GGUF file."""

    def __init__(self, model: PreTrainedModel, source: Path) -> None:
        self.reader = GGUFReader(source)
        self.architecture = str(self.reader.fields["general.architecture"].contents())
        self._config = model.config
        kinds = {name: kind for kind, name in MODEL_ARCH_NAMES.items()}
        names = get_tensor_name_map(kinds[self.architecture], model.config.num_hidden_layers)
        self._state = model.state_dict()
        self._names = {
            f"{found}.{suffix}": name
            for name in self._state
            for stem, _, suffix in [name.rpartition(".")]
            if (found := names.get_name(stem)) is not None
        }

    def __iter__(self) -> Iterator[tuple[str, Any, GGMLQuantizationType | None]]:
        """Name and values; of what torch does not have, the bytes as they are and their type."""
        for tensor in self.reader.tensors:
            array = self.of(tensor)
            if array is None:
                yield tensor.name, tensor.data, tensor.tensor_type
            else:
                yield tensor.name, array, None

    def of(self, tensor: ReaderTensor) -> F32 | None:
        """What the model has for a tensor of the file, in the file's layout."""
        if tensor.name not in self._names:
            return None
        values: F32 = self._state[self._names[tensor.name]].detach().cpu().float().numpy()
        if self.architecture == "llama" and ".attn_q." in tensor.name:
            return _interleaved(values, self._config.num_attention_heads)
        if self.architecture == "llama" and ".attn_k." in tensor.name:
            return _interleaved(values, self._config.num_key_value_heads)
        return values

    def unwritten(self) -> list[str]:
        """Weights of the model that the file has no tensor for; a tied output is none."""
        there = {tensor.name for tensor in self.reader.tensors}
        written = {name for gguf_name, name in self._names.items() if gguf_name in there}
        tied = {"lm_head.weight"} if self._config.tie_word_embeddings else set()
        return [name for name in self._state if name not in written | tied]


def _interleaved(values: F32, heads: int) -> F32:
    """Rows 0, 1, 2, ... of each head as 0, n, 1, n + 1, ... with n half of its rows."""
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))


def _values(tensor: ReaderTensor) -> F32:
    values: F32 = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
    return values.reshape([int(size) for size in reversed(tensor.shape)])


def _copy(writer: GGUFWriter, field: Any, *, width: int) -> None:  # noqa: ANN401 -- untyped
    value, kind = field.contents(), field.types[0]
    if field.name.endswith(".feed_forward_length") and kind != GGUFValueType.ARRAY:
        value = width
    within = field.types[-1] if kind == GGUFValueType.ARRAY else None
    writer.add_key_value(field.name, value, kind, sub_type=within)
