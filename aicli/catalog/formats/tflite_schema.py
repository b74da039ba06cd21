"""The FlatBuffer schema of .tflite files, from the ai-edge-litert wheel, for writing them without TensorFlow."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["FILE_IDENTIFIER", "LAST_DEPRECATED_CODE", "AlignedBufferT", "schema"]

schema: Any = importlib.import_module("ai_edge_litert.schema_py_generated")

FILE_IDENTIFIER = b"TFL3"
DATA_ALIGNMENT = 16  # the schema's force_align of Buffer.data
LAST_DEPRECATED_CODE = 127  # operators up to this number stand in the old one-byte field too


class AlignedBufferT(schema.BufferT):  # type: ignore[misc]  # the schema is untyped
    """A Buffer whose data starts at a multiple of 16 bytes, which the generated ``Pack`` does not see to."""

    def Pack(self, builder: Any) -> int:  # noqa: N802  (the name that the generated code calls)
        offset = 0
        if self.data is not None:
            builder.StartVector(1, len(self.data), DATA_ALIGNMENT)
            builder.head -= len(self.data)
            builder.Bytes[builder.head : builder.head + len(self.data)] = self.data
            offset = builder.EndVector()
        schema.BufferStart(builder)
        if self.data is not None:
            schema.BufferAddData(builder, offset)
        return int(schema.BufferEnd(builder))
