"""The bill of materials of a wheel, as CycloneDX 1.6: what it bundles and what it asks an index for.

    python tools/sbom.py dist/aicli_vision-0.2.0-py3-none-any.whl > dist/aicli_vision-0.2.0.cdx.json

The same wheel gives the same bytes: no time and no random serial number is written.
"""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

BUNDLED = "aicli/_bundled/"
PAGE = f"{BUNDLED}page/"
LITERT = "LiteRT.js by Google, scripts minified: a file of the npm package @litertjs/core."
OWN_SCRIPTS = {
    "index.js": ("Apache-2.0", "Compiled from js/src/browser."),
    "worker.js": ("Apache-2.0 AND MIT", "Compiled from js/src/browser, with parts of fflate (MIT)."),
}
RUST = "Compiled from guest-rust/, with parts of Rust's standard library (MIT or Apache-2.0)."


def describe(wheel: Path) -> dict[str, Any]:
    """The document as plain values, of a wheel that `make build` made."""
    with zipfile.ZipFile(wheel) as archive:
        (metadata_file,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(archive.read(metadata_file).decode())
        catalog = json.loads(archive.read(f"{BUNDLED}models/catalog.json"))
        held = set(archive.namelist())
        files = [
            component(archive, name, model["license"], model["origin"])
            for model in catalog["models"]
            for file in model["files"].values()
            for name in (f"{BUNDLED}models/{file['file']}", f"{BUNDLED}labels/{file['file']}")
            if name in held
        ]
        files.append(component(archive, f"{BUNDLED}aicli_guest.wasm", "Apache-2.0", RUST))
        browser = sorted(name for name in held if name.startswith(PAGE) and name.endswith((".js", ".wasm")))
        files += [component(archive, name, "Apache-2.0", LITERT) for name in browser if "/litert/" in name]
        files += [
            component(archive, name, *OWN_SCRIPTS[name.removeprefix(PAGE)])
            for name in browser
            if "/litert/" not in name
        ]
    purl = f"pkg:pypi/{metadata['Name']}@{metadata['Version']}"
    root = {
        "type": "application",
        "bom-ref": purl,
        "name": metadata["Name"],
        "version": metadata["Version"],
        "purl": purl,
        "licenses": [{"expression": metadata["License-Expression"]}],
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(wheel.read_bytes()).hexdigest()}],
    }
    asked = [dependency(Requirement(line)) for line in metadata.get_all("Requires-Dist", [])]
    components = [*files, *asked]
    references = [item["bom-ref"] for item in components]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": root},
        "components": components,
        "dependencies": [{"ref": purl, "dependsOn": references}, *({"ref": name} for name in references)],
    }


def component(archive: zipfile.ZipFile, name: str, licence: str, origin: str) -> dict[str, Any]:
    """A file that travels in the wheel."""
    kind = "machine-learning-model" if name.endswith(".tflite") else "file"
    return {
        "type": kind,
        "bom-ref": name,
        "name": name.removeprefix(BUNDLED),
        "description": origin,
        "licenses": [{"expression": licence} if " " in licence else {"license": {"id": licence}}],
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(archive.read(name)).hexdigest()}],
    }


def dependency(requirement: Requirement) -> dict[str, Any]:
    """A package that pip gets: its versions are a range, so it has no version of its own here."""
    return {
        "type": "library",
        "bom-ref": f"requires:{requirement}",
        "name": requirement.name,
        "purl": f"pkg:pypi/{requirement.name}",
        "scope": "optional" if "extra" in str(requirement.marker) else "required",
        "properties": [{"name": "python:requirement", "value": str(requirement)}],
    }


if __name__ == "__main__":
    print(json.dumps(describe(Path(sys.argv[1])), indent=2, ensure_ascii=False))
