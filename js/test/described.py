"""A model with metadata (normalisation, labels in two languages) in a folder, and the Python tool's answer for it.

Beside it lies a model whose scores are no numbers for black photos.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
sys.path += [str(PROJECT), str(PROJECT / "tests" / "tools")]

from tiny_models import TinyModel, metadata_block, with_files  # noqa: E402

from aicli import Classifier  # noqa: E402
from tests.made_models import answers_no_numbers  # noqa: E402


def main() -> None:
    block = metadata_block([120.0, 110.0, 100.0], [60.0, 61.0, 62.0], [("de.txt", "de"), ("en.txt", "en")])
    files = {f"{locale}.txt": "".join(f"{locale} {n}\n" for n in range(12)) for locale in ("de", "en")}
    path = Path(sys.argv[1]) / "described.tflite"
    path.write_bytes(with_files(TinyModel("float32").flat().describe(block).finish(), files))
    (Path(sys.argv[1]) / "no_numbers.tflite").write_bytes(answers_no_numbers())
    print(json.dumps(Classifier(path)(str(PROJECT / "examples" / "chelsea.png")).to_dict()))


if __name__ == "__main__":
    main()
