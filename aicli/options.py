"""Every option of the tasks and of a run, once: name, type, default, range, choices and help.

The command line, the HTTP API with its description, and the keywords of ``Classifier`` and ``FaceDetector`` are made
from these classes. To add an option, add a field here and use it where the object arrives; ``section`` puts it on the
command line, ``http`` gives it a query parameter. What else can be said of one stands in :class:`aicli._option.Option`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from aicli._option import Options, option
from aicli.errors import UsageError

__all__ = [
    "ClassifierOptions",
    "ClassifyFiles",
    "ClassifyOptions",
    "DetectFiles",
    "DetectOptions",
    "EvaluateOptions",
    "FrameOptions",
    "GroupOptions",
    "InputOptions",
    "LabelledOptions",
    "Limits",
    "OutcomeOptions",
    "PictureOptions",
    "RunOptions",
    "SandboxOptions",
    "SavingOptions",
    "TrainFiles",
    "TrainOptions",
]


class Limits(Options):
    """What one guest may use: ``memory`` in bytes, ``timeout`` in seconds for one call (``None``: no limit)."""

    memory: int = option(
        default=1 << 30,
        help="Memory that the guest may use, such as 512M.",
        section="Sandbox",
        flags=("--guest-memory",),
        metavar="SIZE",
        shown="1G",
        least=1,
        size=True,
        kw_only=False,
    )
    timeout: float | None = option(
        default=60.0,
        help="Time that the guest may use for one image.",
        section="Sandbox",
        flags=("--guest-timeout",),
        metavar="SECONDS",
        least=0,
        above=True,
        kw_only=False,
    )


class SandboxOptions(Options):
    """Where a guest runs, and what it may use."""

    max_pixels: int = option(
        default=100_000_000, help="Refuse images of more pixels.", section="Input", metavar="N", least=1
    )
    runtime: str | None = option(
        default=None,
        help="WebAssembly runtime: wasmer or wasmtime.",
        section="Sandbox",
        metavar="NAME",
        environment="AICLI_RUNTIME",
        shown="the first installed; for --guest wasmtime",
    )
    engine: str | None = option(
        default=None,
        help="TFLite engine: litert or tflite-runtime.",
        section="Sandbox",
        metavar="NAME",
        environment="AICLI_ENGINE",
        shown="the first installed",
    )
    threads: int | None = option(
        default=None,
        help="Threads of the network in each job.",
        section="Sandbox",
        metavar="N",
        shown="the cores / --jobs",
        least=1,
        most=64,
    )
    guest: str | Path | None = option(
        default=None, help="Run this WebAssembly guest instead of the packaged one.", section="Sandbox", metavar="FILE"
    )
    limits: Limits = option(default=Limits())
    trust_guest: bool = option(
        default=False,
        help="Run --guest in this process, where nothing ends a network or, in wasmer, a guest that hangs.",
        section="Sandbox",
    )
    isolate: bool = option(
        default=False,
        help="Run the model in a process of its own that can reach nothing and whose crash costs one image.",
        section="Sandbox",
    )
    fresh_guest: bool = option(
        default=False, help="Answer each image by an instance of the guest that has seen no other."
    )


class ClassifierOptions(SandboxOptions):
    """Which classifier it is, and how its input is fed; ``model`` and ``labels`` may be given by position."""

    model: str | Path = option(
        default="efficientnet_lite0",
        help="A model of the catalog (aicli models list) or a .tflite file.",
        section="Model",
        flags=("-m", "--model"),
        metavar="NAME|FILE",
        models="classify",
        http="model",
        kw_only=False,
    )
    labels: str | Path | Sequence[str] | None = option(
        default=None,
        help="Class names, one a line, for a model that brings none.",
        section="Model",
        flags=("-l", "--labels"),
        metavar="FILE",
        kw_only=False,
    )
    input_range: str | tuple[float, float] | None = option(
        default=None,
        help="What pixels of 0 and 255 become: 0,1 or -1,1 or 0,255 or any two numbers.",
        section="Model",
        metavar="LOW,HIGH",
        http="input_range",
    )
    mean: str | tuple[float, ...] | None = option(
        default=None,
        help="Mean of red, green, blue, with --std: in 0 to 1 (torchvision) or 0 to 255 (Caffe).",
        section="Model",
        metavar="R,G,B",
        http="mean",
    )
    std: str | tuple[float, ...] | None = option(
        default=None,
        help="Standard deviation of the channels, with --mean.",
        section="Model",
        metavar="R,G,B",
        http="std",
    )
    input_size: str | None = option(
        default=None,
        help="Pixels of the input, as 224 or 320x240, where the model leaves its size open.",
        section="Model",
        metavar="SIZE",
        http="input_size",
    )
    resize: Literal["squash", "crop", "pad"] | None = option(
        default=None, help="How a photo is fitted to the input.", section="Model", http="resize"
    )
    channels: Literal["rgb", "bgr"] | None = option(
        default=None, help="The model's channel order.", section="Model", http="channels"
    )
    output_tensor: int | None = option(
        default=None, help="Which output holds the scores.", section="Model", metavar="N", least=0, http="output_tensor"
    )
    signature: str | None = option(
        default=None,
        help="Which of the model's signatures to run.",
        section="Model",
        metavar="NAME",
        shown="the one that classifies",
        http="signature",
    )
    locale: str | None = option(
        default=None,
        help="Language of the labels, where the model brings several: de, pt-BR.",
        section="Model",
        metavar="LANGUAGE",
        shown="en",
        http="locale",
    )


class ClassifyOptions(ClassifierOptions):
    """What a classifier is made from, and which of its answers are wanted."""

    top_k: int = option(
        default=5,
        help="How many labels to answer.",
        section="Output",
        flags=("-k", "--top"),
        metavar="N",
        least=1,
        also=(0,),
        http="top",
    )
    min_score: float = option(
        default=0.0,
        help="Leave out labels below this score (0 to 1).",
        section="Output",
        metavar="SCORE",
        least=0,
        most=1,
        http="min_score",
    )


class DetectOptions(SandboxOptions):
    """What a face detector is made from; ``model`` may be given by position."""

    model: str = option(
        default="mtcnn",
        help="A face model of the catalog.",
        section="Model",
        flags=("-m", "--model"),
        metavar="NAME",
        models="detect-faces",
        http="model",
        kw_only=False,
    )
    min_size: float = option(
        default=20.0,
        help="Smallest window that is searched; faces somewhat smaller are found too.",
        section="Model",
        metavar="PIXELS",
        least=1,
        most=100_000,
        http="min_size",
    )
    thresholds: tuple[float, float, float] = option(
        default=(0.6, 0.7, 0.7),
        help="Lowest scores of P-Net, R-Net and O-Net.",
        section="Model",
        metavar="A B C",
        least=0,
        most=1,
        http="thresholds",
    )
    turns: bool = option(
        default=False,
        help="Look at the photo turned by 0, 90, 180 and 270 degrees, and merge the faces; takes four times as long.",
        section="Model",
        http="turns",
    )
    border: bool = option(
        default=False,
        help="Look for faces that the photo's border cuts through too; takes about three times as long.",
        section="Model",
        http="border",
    )
    factor: float = option(
        default=0.709,
        help="Ratio from one pyramid level to the next.",
        section="Model",
        metavar="RATIO",
        least=0.1,
        most=0.95,
        http="factor",
    )
    max_faces: int = option(
        default=0,
        help="The N best faces of an image only; 0 for all.",
        section="Output",
        metavar="N",
        shown="all",
        least=0,
        most=100_000,
        http="max_faces",
    )
    min_score: float = option(
        default=0.0,
        help="Leave out faces below this score (0 to 1).",
        section="Output",
        metavar="SCORE",
        least=0,
        most=1,
        http="min_score",
    )
    min_box: float = option(
        default=0.0,
        help="Leave out faces whose box has a side below this.",
        section="Output",
        metavar="PIXELS",
        least=0,
        most=100_000,
        http="min_box",
    )
    max_box: float | None = option(
        default=None,
        help="Leave out faces whose box has a side above this.",
        section="Output",
        metavar="PIXELS",
        least=0,
        above=True,
        most=100_000,
        http="max_box",
    )
    clip: bool = option(
        default=False,
        help="Cut boxes at the photo's border; a face that is cut off has a box that reaches beyond.",
        section="Output",
        http="clip",
    )

    def check(self) -> None:
        if self.max_box is not None and self.max_box < self.min_box:
            raise UsageError(f"no box is at least {self.min_box:g} and at most {self.max_box:g} pixels wide and high")


class FrameOptions(Options):
    """Which pictures of a file are answered: ``max_frames`` bounds those of one file."""

    all_frames: bool = option(
        default=False,
        help="Answer every frame of an animation, page of a TIFF, picture of an MPO or HEIF file.",
        section="Input",
        http="all_frames",
    )
    max_frames: int = option(
        default=1000,
        help="With --all-frames: refuse files of more frames.",
        section="Input",
        metavar="N",
        least=1,
        most=100_000,
    )


class SavingOptions(Options):
    """How pictures are written."""

    picture_format: Literal["png", "jpeg", "webp"] | None = option(
        default=None,
        help="Format of pictures in a folder or on standard output.",
        section="Pictures",
        shown="the photo's own, else png; on standard output png",
    )
    quality: int | None = option(
        default=None,
        help="Quality of JPEG and WebP pictures.",
        section="Pictures",
        metavar="1-100",
        shown="of a JPEG its own, else 90",
        least=1,
        most=100,
        http="quality",
    )


class PictureOptions(SavingOptions):
    """How faces are drawn, hidden and cut out."""

    @property
    def hides_faces(self) -> bool:
        return self.anonymize is not None or self.cover is not None

    @property
    def exif_of_hidden(self) -> Literal["plain", "dropped"]:
        """What a picture with hidden faces keeps of the photo's EXIF: texts and numbers, or nothing."""
        return "plain" if self.keep_metadata else "dropped"

    landmarks: bool = option(
        default=False, help="Draw eyes, nose and mouth corners too.", section="Pictures", http="landmarks"
    )
    scores: bool = option(default=False, help="Draw each face's score too.", section="Pictures", http="scores")
    color: str = option(default="lime", help="Colour of boxes and dots.", section="Pictures", metavar="NAME|#RRGGBB")
    line_width: int | None = option(
        default=None,
        help="Width of their lines.",
        section="Pictures",
        metavar="PIXELS",
        shown="by the photo's size",
        least=1,
        most=500,
    )
    anonymize: Literal["blur", "pixelate"] | None = option(
        default=None,
        section="Pictures",
        switches={
            "blur": "With -o: blur the faces beyond recognition, drop EXIF.",
            "pixelate": "With -o: the same with squares.",
        },
        http="anonymize",
    )
    cover: str | None = option(
        default=None,
        help="With -o: lay this picture on the faces, or black (solid).",
        section="Pictures",
        metavar="solid|IMAGE",
        http="cover",
    )
    shape: Literal["box", "ellipse"] | None = option(
        default=None,
        help="Shape of what hides a face.",
        section="Pictures",
        shown="a box; of a blur with round corners",
        http="shape",
    )
    keep: str | None = option(
        default=None,
        help="Leave these faces as they are, by their numbers in the record.",
        section="Pictures",
        metavar="N,M",
        http="keep",
    )
    spare: tuple[str, ...] = option(
        default=(),
        help="Leave the face at this place as it is.",
        section="Pictures",
        metavar="X,Y",
        http="spare",
    )
    keep_metadata: bool = option(
        default=False,
        help="Keep the EXIF of an anonymised photo, but for what can show a face.",
        section="Pictures",
        http="keep_metadata",
    )
    margin: float | None = option(
        default=None,
        help="What to add to a face on each side, in parts of it.",
        section="Pictures",
        metavar="PARTS",
        shown="0.2 with --crop, 0.15 where faces are hidden",
        least=0,
        most=10,
        http="margin",
    )
    align: bool = option(
        default=False, help="With --crop: turn each face so that its eyes lie level.", section="Pictures"
    )
    size: int | None = option(
        default=None,
        help="With --crop: squares of this size.",
        section="Pictures",
        metavar="PIXELS",
        shown="as in the photo",
        least=1,
        most=8192,
    )


class GroupOptions(Options):
    """How photos are put into folders by their answers."""

    group: str | None = option(
        default=None,
        help="Put each photo into a folder of FOLDER named after its answer.",
        section="Pictures",
        metavar="FOLDER",
    )
    how: Literal["move", "copy", "link"] | None = option(
        default=None,
        section="Pictures",
        switches={
            "move": "With --group: move the photos.",
            "copy": "With --group: copy them (the default).",
            "link": "With --group: make symbolic links.",
        },
    )
    dry_run: bool = option(default=False, help="With --group: show the plan and touch no file.", section="Pictures")


class DetectFiles(GroupOptions):
    """The files that detect-faces writes beside its records."""

    output: str | None = option(
        default=None,
        help="Write the photo with boxes here; a folder keeps the names, - is standard output.",
        section="Pictures",
        flags=("-o", "--output"),
        metavar="FILE|FOLDER|-",
    )
    crop: str | None = option(
        default=None, help="Write each face as a JPEG of its own.", section="Pictures", metavar="FOLDER"
    )
    sheet: str | None = option(
        default=None,
        help="Write a contact sheet: thumbnails with boxes and the number of faces.",
        section="Pictures",
        metavar="FILE|-",
    )


class ClassifyFiles(GroupOptions):
    """The files that classify writes beside its records."""

    output: str | None = option(
        default=None,
        help="Write the photo with its label here; a folder keeps the names, - is standard output.",
        section="Pictures",
        flags=("-o", "--output"),
        metavar="FILE|FOLDER|-",
    )
    sheet: str | None = option(
        default=None,
        help="Write a contact sheet: thumbnails with label and score.",
        section="Pictures",
        metavar="FILE|-",
    )


class InputOptions(Options):
    """What a command line names as images."""

    images: tuple[str, ...] = option(default=(), argument=True, section="Input", metavar="[IMAGE|FOLDER|-]...")
    files_from: str | None = option(
        default=None,
        help="Read the names of images from a file, or - for standard input.",
        section="Input",
        metavar="FILE|-",
    )
    null: bool = option(
        default=False,
        help="Names in --files-from end with NUL (find -print0).",
        section="Input",
        flags=("-0", "--null"),
    )
    include: tuple[str, ...] = option(
        default=(), help="From folders take only names like this (*.jpg).", section="Input", metavar="PATTERN"
    )
    column: str | None = option(
        default=None,
        help="The images are in this column of Parquet files, as paths or bytes.",
        section="Input",
        metavar="NAME",
    )


class RunOptions(Options):
    """How a run over many images goes, and how its results are written."""

    pull: bool = option(
        default=False, help="Get the model if it is not here yet.  [also: AICLI_AUTO_PULL=1]", section="Model"
    )
    format: Literal["table", "text", "json", "jsonl", "csv", "parquet"] | None = option(
        default=None,
        help="How results are written.",
        section="Output",
        flags=("-f", "--format"),
        shown="table on a terminal, else text; by the suffix of --output-file",
    )
    output_file: str | None = option(
        default=None,
        help="Write the results here; the file appears when it is complete. With --cluster: a folder or s3://...",
        section="Output",
        flags=("-O", "--output-file"),
        metavar="FILE|FOLDER",
    )
    to: Literal["parquet", "jsonl"] | None = option(
        default=None,
        help="With --cluster: what the files in the folder of results are.",
        section="Output",
        shown="parquet",
    )
    timing: bool = option(
        default=False, help="Add the milliseconds of each stage to json, jsonl and parquet records.", section="Output"
    )
    resume: bool = option(
        default=False, help="Continue an --output-file (jsonl, csv, parquet): skip what it answers.", section="Run"
    )
    overwrite: bool = option(
        default=False,
        help="Replace pictures of the same name (-o, --crop), and the records of an interrupted run.",
        section="Run",
    )
    jobs: int | None = option(
        default=None,
        help="Images worked on at once.",
        section="Run",
        flags=("-j", "--jobs"),
        metavar="N",
        shown="the cores; 1 for up to 4 images",
        least=1,
        most=256,
    )
    cluster: str | None = option(
        default=None,
        help="Work on a Ray cluster: this machine's (auto), the one at an address, or one for this run (local).",
        section="Run",
        metavar="auto|local|HOST:PORT",
    )
    on_error: Literal["skip", "stop"] = option(
        default="skip", help="What to do after an image that cannot be answered.", section="Run"
    )
    timeout: float | None = option(
        default=None,
        help="Give up an image after this time: reading, guest and pictures.",
        section="Run",
        metavar="SECONDS",
        least=0,
        above=True,
    )
    quiet: bool = option(
        default=False, help="Errors only: no progress, no notes, no summary.", section="Run", flags=("-q", "--quiet")
    )
    verbose: bool = option(
        default=False, help="Show the time of each stage of each image.", section="Run", flags=("-v", "--verbose")
    )


class LabelledOptions(Options):
    """Which labelled photos are read, and how many at once."""

    include: tuple[str, ...] = option(
        default=(), help="From folders take only names like this (*.jpg).", section="Input", metavar="PATTERN"
    )
    limit: int | None = option(
        default=None, help="Take the first N photos of each class.", section="Input", metavar="N", shown="all", least=1
    )
    jobs: int | None = option(
        default=None,
        help="Photos worked on at once.",
        section="Run",
        flags=("-j", "--jobs"),
        metavar="N",
        shown="the cores",
        least=1,
        most=256,
    )


class EvaluateOptions(LabelledOptions):
    """Which labelled photos a classifier is measured on."""

    wordnet_ids: str | Path | None = option(
        default=None,
        help="The photos' names or folders begin with WordNet ids; this file has an id a line, one for each class.",
        section="Input",
        metavar="FILE",
    )


class TrainOptions(LabelledOptions):
    """How a classifier is trained."""

    base: str | Path = option(
        default="efficientnet_lite0",
        help="The classifier whose last layer is replaced.",
        section="Model",
        metavar="NAME|FILE",
        models="classify",
        http="base",
    )
    validation: str | float | Path | None = option(
        default=None,
        help="Measure on this share of the photos, or on these others.",
        section="Input",
        metavar="SHARE|FOLDER",
        shown="each photo by a fit that has not seen it",
    )
    negative: str | Path | None = option(
        default=None,
        help="Photos of none of the classes; they become the class 'other'.",
        section="Input",
        metavar="FOLDER",
    )
    augment: bool = option(
        default=False,
        help="Train on mirrored, cropped and otherwise lit views too.",
        section="Model",
        http="augment",
    )
    seed: int = option(
        default=0,
        help="Seed of everything random.",
        section="Model",
        metavar="N",
        least=0,
        most=2**63 - 1,
        http="seed",
    )
    features: Literal["resume", "no-resume"] = option(
        default="resume",
        section="Run",
        switches={
            "resume": "Use what a former run computed of the same photos (the default).",
            "no-resume": "Compute everything anew.",
        },
    )


class OutcomeOptions(Options):
    """What ``aicli train`` and ``aicli evaluate`` read, and how they show what came out."""

    photos: tuple[str, ...] = option(default=(), argument=True, section="Input", metavar="FOLDER|LIST")
    report: str | None = option(
        default=None, help="Write a report too: .html, .md or .json, by its suffix.", section="Output", metavar="FILE"
    )
    format: Literal["text", "json"] = option(
        default="text", help="How the outcome is printed.", section="Output", flags=("-f", "--format")
    )
    quiet: bool = option(
        default=False, help="Errors only: no progress, no notes.", section="Run", flags=("-q", "--quiet")
    )


class TrainFiles(OutcomeOptions):
    """What ``aicli train`` writes."""

    output: str | None = option(
        default=None, help="The model to write.", section="Output", flags=("-o", "--output"), metavar="FILE.tflite"
    )
