"""``aicli models``: the catalog on the command line."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from aicli._option import Options, option
from aicli.cli.console import NearGroup, complain, told
from aicli.cli.options import option_command, some_options
from aicli.options import ClassifierOptions

if TYPE_CHECKING:
    from aicli.catalog.entries import Entry

__all__ = ["command"]

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
@some_options(ClassifierOptions, "labels")
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
        print_json([{**trial.to_dict(), "option": told(trial.option)} for trial in trials])
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


class OwnModel(Options):
    """What ``aicli models add`` is told about a model beside how it is fed."""

    name: str = option(default="", argument=True, section="Input", metavar="NAME")
    file: str | None = option(default=None, argument=True, section="Input", metavar="[FILE.tflite]")
    task: Literal["classify", "detect-faces"] = option(default="classify", help="What it is for.", section="Input")
    pnet: str | None = option(
        default=None, help="The first network of an MTCNN (detect-faces).", section="Input", metavar="FILE"
    )
    rnet: str | None = option(default=None, help="The second.", section="Input", metavar="FILE")
    onet: str | None = option(default=None, help="The third.", section="Input", metavar="FILE")
    license: str = option(default="unknown", help="Its licence, for models list.", section="Output", metavar="TEXT")
    title: str | None = option(default=None, help="What it is, for models list.", section="Output", metavar="TEXT")
    force: bool = option(default=False, help="Replace a model of yours with this name.", section="Output")
    format: Literal["table", "json"] = option(
        default="table", help="For people or for programs.", section="Output", flags=("-f", "--format")
    )


FOR_CLASSIFIERS = ("labels", "mean", "std", "input_size", "resize", "output_tensor", "signature", "locale")


@option_command("add", feeding=(*FOR_CLASSIFIERS, "input_range", "channels", "engine"))
def add(own: OwnModel, feeding: ClassifierOptions) -> int:
    """Register a model of your own under NAME; its files are copied.

    \b
    aicli models add my_birds birds.tflite --labels birds.txt --input-range -1,1
    aicli models add my_mtcnn --task detect-faces --pnet p.tflite --rnet r.tflite --onet o.tflite
    """
    entry, notes = _add_faces(own, feeding) if own.task == "detect-faces" else _add_classifier(own, feeding)
    for note in notes:
        complain(f"note: {told(note)}")
    if own.format == "json":
        print_json(entry.to_dict())
    else:
        click.echo(f"{entry.name}: ready, use it with: aicli {entry.task} -m {entry.name}")
    return 0


command.add_command(add)


def _add_classifier(own: OwnModel, feeding: ClassifierOptions) -> tuple["Entry", tuple[str, ...]]:
    from aicli.catalog.manage import add_classifier
    from aicli.nn.engines import load_engine

    if own.pnet or own.rnet or own.onet:
        raise click.UsageError("--pnet, --rnet and --onet need --task detect-faces")
    if own.file is None:
        raise click.UsageError("which model? aicli models add NAME FILE.tflite --labels FILE")
    entry, model = add_classifier(
        own.name,
        own.file,
        feeding.labels,
        engine=load_engine(feeding.engine),
        input_range=feeding.input_range,
        mean=feeding.mean,
        std=feeding.std,
        resize=feeding.resize,
        channels=feeding.channels,
        output_tensor=feeding.output_tensor,
        signature=feeding.signature,
        locale=feeding.locale,
        input_size=feeding.input_size,
        license=own.license,
        title=own.title,
        force=own.force,
    )
    return entry, model.notes


def _add_faces(own: OwnModel, feeding: ClassifierOptions) -> tuple["Entry", tuple[str, ...]]:
    from aicli.catalog.faces import add_faces
    from aicli.nn.engines import load_engine

    if own.file is not None or any(getattr(feeding, name) is not None for name in FOR_CLASSIFIERS):
        raise click.UsageError("an MTCNN is registered with --pnet, --rnet and --onet, --input-range and --channels")
    if own.pnet is None or own.rnet is None or own.onet is None:
        raise click.UsageError("an MTCNN has three networks; give --pnet, --rnet and --onet")
    entry = add_faces(
        own.name,
        own.pnet,
        own.rnet,
        own.onet,
        engine=load_engine(feeding.engine),
        input_range=feeding.input_range,
        channels=feeding.channels or "rgb",
        license=own.license,
        title=own.title,
        force=own.force,
    )
    return entry, ()


@command.command("path")
@click.argument("name")
@click.option("--file", "role", metavar="ROLE", help="One file by its role, such as model, labels or pnet.")
@format_option
def path(name: str, role: str | None, format_: str) -> None:
    """Print where the files of a model are, one per line."""
    from aicli.catalog.manage import model_path

    paths = {key: str(value) for key, value in model_path(name, role).items()}
    if format_ == "json":
        print_json(paths)
    else:
        click.echo("\n".join(paths.values()))
