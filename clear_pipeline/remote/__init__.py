"""Files in object stores and on the Hugging Face Hub: `s3://`, `gs://`, `hf://`, any of fsspec."""

from clear_pipeline.remote.address import is_remote, local_directory, local_path
from clear_pipeline.remote.place import Place
from clear_pipeline.remote.protocols import place_at

__all__ = ["Place", "is_remote", "local_directory", "local_path", "place_at"]
