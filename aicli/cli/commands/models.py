"""``aicli models``: the catalog on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aicli.cli.console import NearGroup
from aicli.cli.options import some_options
from aicli.options import ClassifyOptions

__all__ = ["command"]

FEEDING = ("input_range", "mean", "std", "input_size", "resize", "channels")
READING = ("output_tensor", "signature", "locale")

format_option = click.option(
    "-f",
    "--format",
    "format_",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people or for programs.",
)


def print_json(value: Any) -> None:
    import json

    click.echo(json.dumps(value, indent=2))


@click.group("models", cls=NearGroup)
def command() -> None:
    """List, show, pull, verify and register models.

    Models come with aicli, are pulled once, or are your own. Pulled and registered ones lie in your folder of models,
    which AICLI_MODELS_DIR moves. Every file is compared with its SHA-256 before it is used.
    """


@command.command("list")
@click.option("--task", type=click.Choice(["classify", "detect-faces"]), help="Only models for this task.")
@format_option
def list_command(task: str | None, format_: str) -> None:
    """List the models: bundled, pulled, your own, and available to be pulled."""
    from aicli.catalog.manage import list_models
    from aicli.cli.model_tables import models_table

    models = [entry for entry in list_models() if task in (None, entry.task)]
    if format_ == "json":
        print_json([entry.to_dict() for entry in models])
    else:
        click.echo(models_table(models))


@command.command("show")
@click.argument("model", metavar="NAME|FILE.tflite")
@click.option("--try", "photo", metavar="PHOTO", help="Classify a photo with every usual input range, side by side.")
@some_options(ClassifyOptions, "labels")
@format_option
def show(model: str, photo: str | None, labels: str | None, format_: str) -> None:
    """Show all that is known about a model, or all that a .tflite file says about itself.

    \b
    aicli models show birds.tflite
    aicli models show birds.tflite --labels birds.txt --try robin.jpg
    """
    from aicli.catalog.load import looks_like_path
    from aicli.catalog.manage import list_models, require_model
    from aicli.cli.model_tables import describe_file, facts_table

    if photo is not None:
        return _show_trials(model, photo, labels, format_)
    if labels is not None:
        raise click.UsageError("--labels belongs to --try PHOTO")
    names = {name for entry in list_models() for name in (entry.name, *entry.aliases)}
    if looks_like_path(model) or (model not in names and Path(model).is_file()):
        facts = describe_file(Path(model).expanduser())
    else:
        facts = require_model(model).to_dict()
    if format_ == "json":
        print_json(facts)
    else:
        click.echo(facts_table(facts))


def _show_trials(model: str, photo: str, labels: str | None, format_: str) -> None:
    from aicli.cli.model_tables import trials_table
    from aicli.tasks.trial import try_ranges

    trials = try_ranges(model, photo, labels)
    if format_ == "json":
        print_json([trial.to_dict() for trial in trials])
    else:
        click.echo(trials_table(trials))


@command.command("pull")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--mirror",
    metavar="DIR|URL",
    envvar="AICLI_MODEL_MIRROR",
    show_envvar=True,
    help="A folder, or a web folder, that is asked first.",
)
@click.option("--trust", is_flag=True, help="Accept files whose checksum nobody has computed; yours is recorded.")
@click.option("--force", is_flag=True, help="Fetch files again that are here.")
@format_option
def pull(names: tuple[str, ...], mirror: str | None, trust: bool, force: bool, format_: str) -> None:
    """Get models of the catalog. AICLI_OFFLINE=1 allows a folder as mirror and no network."""
    from aicli.catalog.entries import require_entry
    from aicli.catalog.pulling import pull as pull_model
    from aicli.cli.pulling import progress_bar

    entries = [require_entry(name) for name in names]
    answers = []
    with progress_bar() as progress:
        for entry in entries:
            paths = pull_model(entry.name, mirror=mirror, trust=trust, force=force, progress=progress)
            answers.append({"name": entry.name, "files": {role: str(path) for role, path in paths.items()}})
            if format_ == "table":
                click.echo(f"{entry.name}: ready ({entry.license})")
    if format_ == "json":
        print_json(answers)


@command.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@format_option
def verify(names: tuple[str, ...], format_: str) -> None:
    """Compare the files of these models, or of all that are here, with their checksums.

    The exit code is 1 when a file is damaged or a named model is absent.
    """
    from aicli.catalog.manage import verify as verify_models
    from aicli.cli.model_tables import aligned

    checks = verify_models(names)
    if format_ == "json":
        print_json([check.to_dict() for check in checks])
    else:
        click.echo(aligned([[check.model, check.status, str(check.path or check.file)] for check in checks]))
    if any(check.status in ("damaged", "absent") for check in checks):
        raise click.exceptions.Exit(1)


@command.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@format_option
def rm(names: tuple[str, ...], format_: str) -> None:
    """Delete pulled models and models of your own."""
    from aicli.catalog.manage import remove, require_model

    answers = []
    for name in [require_model(name).name for name in names]:
        removed = remove(name)
        answers.append({"name": name, "removed": [str(path) for path in removed]})
        if format_ == "table":
            click.echo(f"{name}: removed")
    if format_ == "json":
        print_json(answers)


@command.command("add")
@click.argument("name")
@click.argument("file", required=False, metavar="[FILE.tflite]")
@some_options(ClassifyOptions, "labels", *FEEDING, *READING)
@click.option("--task", type=click.Choice(["classify", "detect-faces"]), default="classify", show_default=True)
@click.option("--pnet", metavar="FILE", help="The first network of an MTCNN (detect-faces).")
@click.option("--rnet", metavar="FILE", help="The second.")
@click.option("--onet", metavar="FILE", help="The third.")
@click.option("--license", "license_", default="unknown", metavar="TEXT", help="Its licence, for models list.")
@click.option("--title", metavar="TEXT", help="What it is, for models list.")
@click.option("--engine", metavar="NAME", envvar="AICLI_ENGINE", help="The TFLite engine to try it with.")
@click.option("--force", is_flag=True, help="Replace a model of yours with this name.")
@format_option
def add(name: str, file: str | None, task: str, format_: str, **options: Any) -> None:
    """Register a model of your own under NAME; its files are copied.

    \b
    aicli models add my_birds birds.tflite --labels birds.txt --input-range -1,1
    aicli models add my_mtcnn --task detect-faces --pnet p.tflite --rnet r.tflite --onet o.tflite
    """
    from aicli.nn.engines import load_engine

    options["engine"] = load_engine(options["engine"])
    options["license"] = options.pop("license_")
    entry, notes = _add_faces(name, file, options) if task == "detect-faces" else _add_classifier(name, file, options)
    for note in notes:
        click.echo(f"aicli: {note}", err=True)
    if format_ == "json":
        print_json(entry.to_dict())
    else:
        click.echo(f"{entry.name}: ready, use it with: aicli {entry.task} -m {entry.name}")


def _add_classifier(name: str, file: str | None, options: dict[str, Any]) -> tuple[Any, tuple[str, ...]]:
    from aicli.catalog.manage import add_classifier

    if any(options.pop(net) for net in ("pnet", "rnet", "onet")):
        raise click.UsageError("--pnet, --rnet and --onet need --task detect-faces")
    if file is None:
        raise click.UsageError("which model? aicli models add NAME FILE.tflite --labels FILE")
    entry, model = add_classifier(name, file, **options)
    return entry, model.notes


def _add_faces(name: str, file: str | None, options: dict[str, Any]) -> tuple[Any, tuple[str, ...]]:
    from aicli.catalog.faces import add_faces

    useless = ("labels", "mean", "std", "input_size", "resize", *READING)
    unused = [key for key in useless if options.pop(key) is not None]
    if file is not None or unused:
        raise click.UsageError("an MTCNN is registered with --pnet, --rnet and --onet, --input-range and --channels")
    if not all(options[net] for net in ("pnet", "rnet", "onet")):
        raise click.UsageError("an MTCNN has three networks; give --pnet, --rnet and --onet")
    options["channels"] = options["channels"] or "rgb"
    return add_faces(name, **options), ()


@command.command("path")
@click.argument("name")
@click.option("--file", "role", metavar="ROLE", help="One file: model, labels, pnet, rnet or onet.")
@format_option
def path(name: str, role: str | None, format_: str) -> None:
    """Print where the files of a model are, one per line."""
    from aicli.catalog.manage import model_path

    paths = {key: str(value) for key, value in model_path(name, role).items()}
    if format_ == "json":
        print_json(paths)
    else:
        click.echo("\n".join(paths.values()))
