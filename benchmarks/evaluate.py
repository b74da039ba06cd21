"""Measure a classifier on a folder of labelled photos: top-1, top-5, the classes that are confused, calibration.

    python benchmarks/evaluate.py FOLDER [-m MODEL] [-l LABELS] [--jobs N] [--wordnet-ids FILE] [--json]
                                  [--input-range LOW,HIGH] [--resize squash|crop|pad]

Photos lie in folders named after their class (FOLDER/CLASS/photo.jpg), or their names begin with a WordNet id, as
ImageNet's do; --wordnet-ids names the ids in the order of the classes, one a line. The photos are read one after
the other, so their number is not limited. While it runs, a line on standard error says how far it is.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from aicli import AicliError, Classifier
from aicli.tasks.evaluation import BINS, Evaluation, evaluate, find_labelled

LARGEST_MATRIX = 12
"""Classes up to which the whole confusion matrix is shown; of more, the pairs that are confused most."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-m", "--model", default="efficientnet_lite0")
    parser.add_argument("-l", "--labels")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--wordnet-ids", type=Path)
    parser.add_argument("--input-range")
    parser.add_argument("--resize", choices=("squash", "crop", "pad"))
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    try:
        classifier = Classifier(given.model, given.labels, input_range=given.input_range, resize=given.resize, top_k=5)
        ids = (
            [line.split()[0] for line in given.wordnet_ids.read_text().split("\n") if line.strip()]
            if (given.wordnet_ids)
            else []
        )
        photos = find_labelled(given.folder, classifier.model.labels, ids)
        found = Evaluation(classifier.model.labels)
        for done, found in enumerate(evaluate(classifier, photos, jobs=given.jobs), 1):
            if done % 50 == 0 or done == len(photos):
                print(f"\r{done} of {len(photos)}, top-1 {share(found.top1, found.photos)}", end="", file=sys.stderr)
        print(file=sys.stderr)
    except AicliError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 1
    print(json.dumps(found.to_dict(), indent=2) if given.json else report(classifier, found))
    return 0


def share(count: float, whole: int) -> str:
    return f"{100 * count / whole:.1f} %" if whole else "-"


def report(classifier: Classifier, found: Evaluation) -> str:
    facts = found.to_dict()
    if not found.photos:
        return f"{classifier.model.name}: none of {found.failed} photos could be read"
    low, high = facts["top1_interval"]
    lines = [
        f"{classifier.model.name} on {found.photos} photos"
        + (f" ({found.failed} could not be read)" if found.failed else ""),
        f"top-1 {share(found.top1, found.photos)} ({100 * low:.1f} to {100 * high:.1f} with 95 %), "
        f"top-5 {share(found.top5, found.photos)}, mean over classes {100 * found.balanced:.1f} %",
        f"calibration error {found.calibration_error:.3f}",
        "",
        "score        photos  mean score  right",
    ]
    for place, item in enumerate(found.bins):
        if item.count:
            scores = f"{place / BINS:.1f} to {(place + 1) / BINS:.1f}"
            lines.append(f"{scores}  {item.count:9d}  {item.score / item.count:10.3f}  {share(item.right, item.count)}")
    return "\n".join([*lines, "", *confusion(found)])


def confusion(found: Evaluation) -> list[str]:
    classes = found.by_class()
    if len(classes) <= LARGEST_MATRIX:
        width = max(len(found.labels[index]) for index in classes)
        head = " " * width + "".join(f"{place:7d}" for place in range(1, len(classes) + 1))
        rows = [
            found.labels[truth].ljust(width) + "".join(f"{found.confusion[truth, answer]:7d}" for answer in classes)
            for truth in classes
        ]
        return ["confusion: rows are the truth, columns the answers in the same order", head, *rows]
    wrong = [(pair, count) for pair, count in found.confusion.most_common() if pair[0] != pair[1]][:20]
    rows = [f"{count:5d}  {found.labels[truth]} -> {found.labels[answer]}" for (truth, answer), count in wrong]
    return ["confused most: photos, truth -> answer", *rows]


if __name__ == "__main__":
    sys.exit(main())
