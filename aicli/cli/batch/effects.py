"""Options that have no effect in a call, or write over what the call reads, are errors that say so."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import click

from aicli._same_file import same_file
from aicli.cli.batch.pictures import STANDARD_OUTPUT, is_folder
from aicli.cli.options import given
from aicli.options import ClassifyFiles, DetectFiles, FrameOptions, InputOptions, RunOptions, SandboxOptions

__all__ = ["check_effects"]

Needs = Mapping[str, tuple[str, bool]]
"""For the name of an option what it needs, and whether that is there."""

LOSSLESS = (".png", ".gif", ".tif", ".tiff")
TIMED = ("json", "jsonl", "parquet")


def check_effects(
    inputs: InputOptions,
    frames: FrameOptions,
    sandbox: SandboxOptions,
    files: ClassifyFiles | DetectFiles,
    picture_format: str | None,
    run: RunOptions,
    needs: Needs,
) -> None:
    """Raises a usage error for an option that has no effect, before anything is loaded; ``needs`` are a task's own."""
    crop = files.crop if isinstance(files, DetectFiles) else None
    format: str | None = run.format
    if format is None and run.output_file is not None:
        from aicli.cli.batch.record_file import format_of

        format = format_of(run.output_file)
    folder = files.output is not None and files.output != STANDARD_OUTPUT and is_folder(files.output)
    chosen = folder or STANDARD_OUTPUT in (files.output, files.sheet)
    lossy = crop is not None or any(is_lossy(path, picture_format) for path in (files.output, files.sheet))
    common = {
        "include": ("a folder or an archive", not all_are_files(inputs)),
        "max_frames": ("--all-frames", frames.all_frames),
        "trust_guest": ("--guest", sandbox.guest is not None),
        "timing": (
            "-f json, jsonl or parquet, or such a -O; -v prints the times",
            format in TIMED or run.cluster is not None,
        ),
        "to": ("--cluster", run.cluster is not None),
        "overwrite": ("-o FOLDER, --crop or -O", folder or crop is not None or run.output_file is not None),
        "picture_format": ("-o FOLDER, -o - or --sheet -", chosen),
        "quality": ("a JPEG or WebP of -o, --crop or --sheet", lossy),
    }
    for name, (what, has) in (common | dict(needs)).items():
        if given(name) and not has:
            raise click.UsageError(f"--{name.replace('_', '-')} has no effect without {what}")
    if run.quiet and run.verbose:
        raise click.UsageError("-q and -v ask for different things; choose one")
    keep_what_is_read(sandbox, files, run)


def keep_what_is_read(sandbox: SandboxOptions, files: ClassifyFiles | DetectFiles, run: RunOptions) -> None:
    """Raises a usage error where a result would replace the model, the labels or the guest of the run, or another."""
    from aicli.cli.batch.sources import real_path

    results: dict[str, str] = {}
    for flag, path in (("-O", run.output_file), ("-o", files.output), ("--sheet", files.sheet)):
        if path not in (None, STANDARD_OUTPUT) and (os.path.isfile(path) or not os.path.exists(path)):
            other = results.setdefault(real_path(path), flag)  # devices and pipes are written one after the other
            if other != flag:
                raise click.UsageError(f"{path}: both {other} and {flag} would be written there; choose another {flag}")
        for name in ("model", "labels", "guest"):
            read = getattr(sandbox, name, None)
            if path is None or not isinstance(read, (str, os.PathLike)) or not os.path.isfile(read):
                continue  # labels may be a list, a model a name
            if same_file(path, read):
                raise click.UsageError(f"{path}: this run reads it as --{name}; choose another {flag}")


def all_are_files(inputs: InputOptions) -> bool:
    """Whether everything that is named is a photo, of which nothing is chosen."""
    from aicli.image.formats import is_archive

    names: Sequence[str] = inputs.images
    single = all(name == "-" or (os.path.isfile(name) and not is_archive(name)) for name in names)
    return single and inputs.files_from is None


def is_lossy(path: str | None, picture_format: str | None) -> bool:
    """Whether a picture of -o or --sheet may be a JPEG or WebP."""
    if path is None:
        return False
    if path == STANDARD_OUTPUT:
        return picture_format in ("jpeg", "webp")
    if is_folder(path):
        return picture_format != "png"
    return not path.lower().endswith(LOSSLESS)
