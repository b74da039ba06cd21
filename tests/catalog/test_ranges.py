"""What calibrations and options mean as ranges."""

from __future__ import annotations

import pytest

from aicli.catalog.formats.first_layers import Evidence
from aicli.catalog.ranges import choose_feeding, parse_mean_std
from aicli.cli.console import told
from aicli.errors import UsageError


def calibrated(low: float, high: float) -> tuple[str, str]:
    feeding, (note,) = choose_feeding("m", Evidence("quantize", low, high), planar=False, grey=False)
    return told(feeding.option).removeprefix("--input-range "), told(note)


@pytest.mark.parametrize(
    ("low", "high", "option"),
    [
        (0, 1, "0,1"),
        (0, 0.87, "0,1"),
        (-0.996, 1.004, "-1,1"),
        (0, 254.6, "0,255"),
        (-2.1, 2.6, "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225"),
        (-123.7, 151.1, "--mean 123.68,116.779,103.939 --std 1"),
        (-128, 127, "-128,127"),
        (0, 120, "0,255"),
        (0, 0.4, "0,1"),
        (-1, 0.1, "-1,1"),
        (-7, 5, "-7,5"),
        (-255, 255, "0,255"),
    ],
)
def test_calibrated_ranges(low: float, high: float, option: str) -> None:
    found, note = calibrated(low, high)
    assert found == option
    assert f"{low:.4g} to {high:.4g}" in note


def test_a_part_of_a_range_and_a_symmetric_type_stay_open() -> None:
    assert "--input-range 0,120" in calibrated(0, 120)[1]
    assert "it could be --input-range 0,1" in calibrated(-1, 1)[1]
    assert "could be" not in calibrated(-0.996, 1.004)[1]


@pytest.mark.parametrize(
    ("mean", "std", "expected"),
    [
        ("0.5", "0.5", ((127.5,) * 3, (127.5,) * 3)),
        ("127.5", "128", ((127.5,) * 3, (128.0,) * 3)),
        ((0.0, 0.0, 0.0), (255, 255, 255), ((0.0,) * 3, (255.0,) * 3)),
        ("103.939,116.779,123.68", "1", ((103.939, 116.779, 123.68), (1.0,) * 3)),
    ],
)
def test_mean_and_deviation(mean: str, std: str, expected: object) -> None:
    assert parse_mean_std(mean, std) == expected


@pytest.mark.parametrize(
    ("mean", "std"), [("0", "1"), ("a", "1"), ("1,2", "1"), ("0.5", "0"), ("0.5", "-1"), ("nan", "1")]
)
def test_mean_and_deviation_that_mean_nothing(mean: str, std: str) -> None:
    with pytest.raises(UsageError):
        parse_mean_std(mean, std)
