"""Drawing, anonymising and cropping, checked pixel by pixel on small synthetic photos."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageDraw

from aicli.errors import ImageError, UsageError
from aicli.image.decode import open_image
from aicli.output.pictures.anonymize import METHODS, Method, anonymize
from aicli.output.pictures.crops import crop_face
from aicli.output.pictures.drawing import clip_box, default_line_width, draw_faces, draw_label, pick_contrasting_text
from aicli.output.pictures.fonts import fit_text, font_for, text_width
from aicli.results import Box, Classification, Detection, Face, Landmarks, Point, Prediction

LIME = (0, 255, 0)
GREY = (90, 90, 90)


def face(x1: float, y1: float, x2: float, y2: float, turn: float = 0.0) -> Face:
    """A face whose landmarks lie as in an upright face, turned clockwise by ``turn`` degrees about the box's centre."""
    cx, cy, sin, cos = (x1 + x2) / 2, (y1 + y2) / 2, math.sin(math.radians(turn)), math.cos(math.radians(turn))

    def place(x: float, y: float) -> Point:
        dx, dy = x * (x2 - x1), y * (y2 - y1)
        return Point(cx + dx * cos - dy * sin, cy + dx * sin + dy * cos)

    points = ((-0.2, -0.15), (0.2, -0.15), (0, 0.05), (-0.15, 0.25), (0.15, 0.25))
    return Face(Box(x1, y1, x2, y2), 0.987, Landmarks(*(place(x, y) for x, y in points)))


def grey(width: int = 200, height: int = 150) -> Image.Image:
    return Image.new("RGB", (width, height), GREY)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.frombytes("RGB", (width, height), random.Random(seed).randbytes(width * height * 3))


def changed(before: Image.Image, after: Image.Image) -> tuple[int, int, int, int] | None:
    return ImageChops.difference(before, after).getbbox()


def pixel(image: Image.Image, x: float, y: float) -> tuple[int, int, int]:
    value = image.getpixel((int(x), int(y)))
    assert isinstance(value, tuple)
    return value[0], value[1], value[2]


@pytest.mark.parametrize(
    "draw",
    [
        lambda image: draw_faces(image, [face(20, 20, 80, 90)], scores=True, landmarks=True),
        lambda image: draw_label(image, Classification("a", 1, 1, "m", (Prediction(0, "cat", 0.9),))),
        lambda image: crop_face(image, face(20, 20, 80, 90), align=True),
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_the_input_stays_and_the_result_is_in_colour(draw: Callable[[Image.Image], Image.Image], mode: str) -> None:
    """What is transparent stays so where the whole photo is shown; a crop is always RGB."""
    image = noise(160, 120).convert(mode)
    before = image.copy()
    result = draw(image)
    assert result.mode == ("RGBA" if mode == "RGBA" and result.size == image.size else "RGB")
    assert image.tobytes() == before.tobytes()


@pytest.mark.parametrize(("mode", "result"), [("RGB", "RGB"), ("L", "L"), ("RGBA", "RGBA"), ("P", "RGB"), ("LA", "LA")])
def test_anonymised_pictures_keep_grey_and_transparency(mode: str, result: str) -> None:
    image = noise(160, 120).convert(mode)
    before = image.tobytes()
    for cover in (None, noise(20, 20).convert("RGBA")):
        hidden = anonymize(image, [face(20, 20, 80, 90)], cover=cover)
        assert (hidden.mode, hidden.size) == (result, image.size)
        assert changed(image.convert("RGB"), hidden.convert("RGB")) is not None
    assert image.tobytes() == before


def test_what_is_covered_is_the_box_with_its_margin_in_its_shape() -> None:
    """dx 20 and dy 25 around the box; the ellipse goes through the corners of the box and two pixels beyond."""
    image, found = Image.new("L", (240, 220), 255), [face(60, 50, 140, 150)]
    whole = anonymize(image, found, method="solid", margin=0.25)
    assert whole.getcolors() == [(120 * 150, 0), (240 * 220 - 120 * 150, 255)]
    assert changed(image, whole) == (40, 25, 160, 175)
    ellipse = anonymize(image, found, method="solid", margin=0, shape="ellipse")
    assert changed(image, ellipse) == (42, 27, 158, 173)
    assert (ellipse.getpixel((100, 28)), ellipse.getpixel((47, 32)), ellipse.getpixel((60, 50))) == (0, 255, 0)

    photo = noise(240, 220)
    soft = anonymize(photo, found, margin=0.25)
    assert changed(photo, soft) == (40, 25, 160, 175)
    for corner in ((40, 25), (159, 25), (40, 174), (159, 174), (50, 35)):  # round, with a radius of 42 pixels
        assert soft.getpixel(corner) == photo.getpixel(corner)
    assert soft.getpixel((55, 40)) != photo.getpixel((55, 40))


@pytest.mark.parametrize("method", METHODS)
def test_a_face_beside_the_photo_hides_nothing(method: Method) -> None:
    photo = noise(100, 80)
    beside = [face(100, 10, 130, 40), face(-30, 10, 0, 40), face(10, 80, 40, 110), face(10, -30, 40, 0)]
    assert changed(photo, anonymize(photo, beside, method=method, margin=0)) is None
    assert changed(photo, anonymize(photo, [face(99.5, 10, 130, 40)], method=method, margin=0)) == (99, 10, 100, 40)


def test_an_ellipse_holds_the_box() -> None:
    image = Image.new("L", (300, 300), 255)
    image.paste(0, (100, 80, 180, 200))
    hidden = anonymize(image, [face(100, 80, 180, 200)], method="solid", margin=0, shape="ellipse")
    assert hidden.crop((100, 80, 180, 200)).getextrema() == (0, 0)
    assert hidden.getpixel((70, 60)) == 255


def test_an_unturned_photo_is_turned_before_its_faces_are_hidden() -> None:
    image = noise(100, 60)
    image.getexif()[0x0112] = 6
    upright = image.transpose(Image.Transpose.ROTATE_270)
    hidden = anonymize(image, [face(10, 10, 30, 40)], method="solid", margin=0)
    assert hidden.size == upright.size == (60, 100)
    assert hidden.crop((10, 10, 30, 40)).getextrema() == ((0, 0),) * 3
    assert ImageChops.difference(hidden, upright).getbbox() == (10, 10, 30, 40)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA"])
def test_pictures_are_made_of_whatever_an_image_is(tmp_path: Path, mode: str) -> None:
    """A path, bytes, a stream, an array or a decoded image, upright and grey or transparent where the photo is."""
    photo, exif = noise(100, 60).convert(mode), Image.Exif()
    if "A" in mode:
        photo.putpixel((0, 0), (0,) * len(mode))
    exif[0x0112] = 6
    path = tmp_path / "photo.png"
    photo.save(path, exif=exif)
    upright = photo.transpose(Image.Transpose.ROTATE_270)
    with path.open("rb") as stream:
        for source in (str(path), path, path.read_bytes(), bytearray(path.read_bytes()), stream, Image.open(path)):
            hidden = anonymize(source, [face(10, 10, 30, 40)], method="solid", margin=0)
            assert (hidden.mode, hidden.size) == (mode, (60, 100)), type(source)
            assert ImageChops.difference(hidden.convert("RGB"), upright.convert("RGB")).getbbox() == (10, 10, 30, 40)
    decoded = open_image(path)
    box, label = face(10, 10, 30, 40), Classification("a", 1, 1, "m", (Prediction(0, "cat", 0.9),))
    makes: list[Callable[[Any], Image.Image]] = [
        lambda image: anonymize(image, [box], cover=path),
        lambda image: draw_faces(image, [box]),
        lambda image: draw_label(image, label),
        lambda image: crop_face(image, box),
    ]
    for make in makes:
        assert make(decoded).convert("RGB").tobytes() == make(decoded.pixels).convert("RGB").tobytes()
        assert make(path).size == make(decoded).size
        with pytest.raises(TypeError, match="a path, bytes, a binary stream, a Pillow image or an array, not"):
            make(7)
        with pytest.raises(ImageError, match=r"absent\.jpg: no such file"):
            make("absent.jpg")


def test_what_is_no_face_is_not_hidden() -> None:
    one = face(10, 10, 30, 40)
    for wrong in (Detection("a", 9, 9, "m", (one,)), [one.box], [None]):
        with pytest.raises(TypeError, match=r"such as detect\(image\)\.faces, not "):
            anonymize(noise(60, 60), wrong)  # type: ignore[arg-type]


def test_faces_of_an_iterator_are_hidden_and_drawn() -> None:
    image, found = noise(60, 60), [face(10, 10, 30, 40), face(35, 35, 55, 55)]
    for one in (iter(found), filter(None, found), (item for item in found)):
        hidden = anonymize(image, one)  # type: ignore[arg-type]
        assert hidden.tobytes() == anonymize(image, found).tobytes() != image.tobytes()
    drawn = draw_faces(image, iter(found), landmarks=True, scores=True)  # type: ignore[arg-type]
    assert drawn.tobytes() == draw_faces(image, found, landmarks=True, scores=True).tobytes()


def test_what_composes_pictures_imports_no_numpy() -> None:
    code = "import sys, aicli.output.pictures.compose, aicli.output.pictures.crops; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_box_is_drawn_around_its_face() -> None:
    result = draw_faces(grey(), [face(40, 30, 100, 110)])
    assert changed(grey(), result) == (38, 28, 102, 112)
    assert pixel(result, 39, 60) == LIME
    assert changed(grey().crop((40, 30, 100, 110)), result.crop((40, 30, 100, 110))) is None


def test_line_width_follows_image_and_face() -> None:
    assert [default_line_width(size) for size in ((100, 100), (1350, 900), (8000, 6000))] == [2, 4, 24]
    small = draw_faces(grey(2000, 2000), [face(100, 100, 120, 120)])
    assert changed(grey(2000, 2000), small) == (99, 99, 121, 121)
    assert changed(grey(), draw_faces(grey(), [face(40, 30, 100, 110)], line_width=5)) == (35, 25, 105, 115)


def test_boxes_beyond_the_image_are_clipped_or_left_out() -> None:
    result = draw_faces(grey(), [face(-30, -30, 60, 60)])
    assert pixel(result, 0, 30) == LIME
    assert pixel(result, 30, 0) == LIME
    assert pixel(result, 30, 30) == GREY
    gone = [face(-90, 0, -10, 50), face(300, 0, 400, 50), face(50, 50, 50, 90), face(math.nan, 0, 9, 9)]
    gone.append(face(0, 0, math.inf, 9))
    assert changed(grey(), draw_faces(grey(), gone, scores=True, landmarks=True)) is None
    assert clip_box(Box(50, 60, 10, 20), (40, 40)) == Box(10, 20, 40, 40)


def test_landmarks_are_dots() -> None:
    subject = face(40, 30, 160, 130)
    result = draw_faces(grey(), [subject], landmarks=True, color=(255, 0, 0))
    for x, y in subject.landmarks:
        assert pixel(result, x, y) == (255, 0, 0)
        assert pixel(result, x + 7, y) == GREY


@pytest.mark.parametrize("size", [(100, 100), (640, 480), (3000, 2000)])
@pytest.mark.parametrize("corner", [(0.0, 0.0), (0.8, 0.0), (0.0, 0.8), (0.8, 0.8), (0.4, 0.4)])
def test_scores_stay_in_the_image(size: tuple[int, int], corner: tuple[float, float]) -> None:
    image = grey(*size)
    x, y = corner[0] * size[0], corner[1] * size[1]
    subject = face(x, y, x + size[0] / 5, y + size[1] / 5)
    bare, scored = draw_faces(image, [subject]), draw_faces(image, [subject], scores=True)
    tab = changed(bare, scored)
    assert tab is not None
    assert tab[2] - tab[0] >= 18
    assert 9 <= tab[3] - tab[1] <= max(20, size[1] / 10)
    assert pixel(scored, tab[0], tab[1]) == LIME
    # Nothing of the face itself is hidden.
    inner = tuple(int(value) for value in (x + 1, y + 1, x + size[0] / 5 - 1, y + size[1] / 5 - 1))
    assert changed(bare.crop(inner), scored.crop(inner)) is None  # type: ignore[arg-type]


def test_the_score_is_written_on_its_tab() -> None:
    picture = draw_faces(grey(400, 300), [face(100, 100, 200, 220)], scores=True, color=LIME)
    colours: dict[Any, int] = {value: count for count, value in picture.crop((98, 84, 202, 98)).getcolors(10_000) or []}
    letters = {value: count for value, count in colours.items() if value not in (LIME, GREY)}
    assert letters and all((red, blue) == (0, 0) for red, _, blue in letters)  # black, with smooth edges
    assert sum(count for (_, green, _), count in letters.items() if green < 140) > 15 < colours[LIME]
    again = draw_faces(grey(400, 300), [face(100, 100, 200, 220)._replace(score=0.5)], scores=True, color=LIME)
    assert changed(picture, again) is not None


def test_a_face_that_fills_the_image_has_its_score_inside() -> None:
    image = grey(100, 100)
    assert changed(draw_faces(image, [face(0, 0, 100, 100)]), draw_faces(image, [face(0, 0, 100, 100)], scores=True))


def test_colours() -> None:
    assert [pick_contrasting_text(color) for color in ("lime", "black", "navy", "white")] == [
        (0, 0, 0),
        (255, 255, 255),
        (255, 255, 255),
        (0, 0, 0),
    ]
    with pytest.raises(UsageError, match="'greenish' is not a colour"):
        draw_faces(grey(), [], color="greenish")


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (16, 16), (100, 80), (2000, 1200)])
@pytest.mark.parametrize(
    "label", ["cat", "African hunting dog, hyena dog, Cape hunting dog, Lycaon pictus", "日本 Käse\n"]
)
def test_every_picture_can_be_labelled(size: tuple[int, int], label: str) -> None:
    image = Image.new("RGB", size, "white")
    result = draw_label(image, Classification("a", *size, "m", (Prediction(0, label, 0.9128),)))
    assert result.size == size
    if min(size) >= 80:
        band = changed(image, result)
        assert band is not None
        assert band[::2] == (0, size[0])
        assert band[3] == size[1]
        assert size[1] * 0.03 < size[1] - band[1] < size[1] / 3
        lightest = result.crop(band).convert("L").getextrema()[1]
        assert lightest > 240  # type: ignore[operator]
        assert pixel(result, 0, size[1] - 1)[0] < 90


def test_the_label_stands_on_the_left_of_its_band_and_the_score_on_the_right() -> None:
    image = grey(400, 300)
    result = draw_label(image, Classification("a", 400, 300, "m", (Prediction(0, "cat", 0.9128),)))
    band = changed(image, result)
    assert band is not None
    letters = result.convert("L").point(lambda value: 255 if value > 200 else 0)
    label, score = letters.crop((0, 0, 200, 300)).getbbox(), letters.crop((200, 0, 400, 300)).getbbox()
    assert label is not None and score is not None
    assert label[0] < 20 and label[2] < 80
    assert 200 - score[2] < 20 and 200 - score[0] < 100
    for found in (label, score):  # in the middle of the band, a letter's height at most from it
        assert abs((found[1] + found[3]) - (band[1] + band[3])) / 2 < 5


def test_a_second_score_leaves_the_first_one_readable() -> None:
    first, second = face(40, 60, 100, 120), face(40, 75, 100, 135)
    bare = draw_faces(grey(), [first])
    one = draw_faces(grey(), [first], scores=True)
    both = draw_faces(grey(), [first, second], scores=True)
    tab = changed(bare, one)
    assert tab is not None and tab[3] < 62
    assert changed(one.crop(tab), both.crop(tab)) is None


def test_no_label_is_said_so() -> None:
    assert changed(grey(), draw_label(grey(), Classification("a", 200, 150, "m", ())))


def test_characters_that_no_font_has_are_question_marks() -> None:
    assert font_for("caf\u00e9", 12)[1] == "caf\u00e9"
    assert font_for("caf\u00e9 \U000f0000", 12)[1] == "cafe ?"  # and without accents


def test_text_is_cut_to_its_place() -> None:
    font, text = font_for("holiday_IMG_0123.jpg", 14)
    assert fit_text(font, text, 1000) == text
    middle = fit_text(font, text, 80, middle=True)
    assert middle.startswith("ho")
    assert middle.endswith("jpg")
    assert text_width(font, middle) <= 80
    assert fit_text(font, text, 80).endswith("...")
    assert fit_text(font, text, 2) == ""
    assert font_for("a\x1b[1m\udcff", 14)[1] == r"a\x1b[1m\xff"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("margin", [0.0, 0.15, 0.5])
def test_the_whole_box_is_covered_and_nothing_far_from_it(method: Method, margin: float) -> None:
    image = noise(400, 300)
    subject = face(120, 80, 220, 200)
    result = anonymize(image, [subject], method=method, margin=margin)
    dx, dy = 100 * margin, 120 * margin
    box = changed(image, result)
    assert box is not None
    assert box[0] >= 120 - dx - 1
    assert box[3] <= 200 + dy + 1
    # Noise that is averaged is close to grey everywhere: no pixel of the box, corners included, shows through.
    low, high = result.crop((120, 80, 220, 200)).convert("L").getextrema()
    if method == "solid":
        assert (low, high) == (0, 0)
        return
    assert low > 100  # type: ignore[operator]
    assert high < 155  # type: ignore[operator]


@pytest.mark.parametrize("method", METHODS)
def test_only_averages_survive(method: Method) -> None:
    """Two faces that differ in everything but the averages of 8 x 8 cells give the same picture."""
    image = noise(160, 160)
    other = image.copy()
    for x in range(0, 160, 20):
        for y in range(0, 160, 20):
            cell = image.crop((x, y, x + 20, y + 20))
            other.paste(cell.transpose(Image.Transpose.ROTATE_180), (x, y))
    whole = [face(0, 0, 160, 160)]
    first, second = (anonymize(picture, whole, method=method, margin=0) for picture in (image, other))
    assert changed(image, other)
    assert changed(first, second) is None


def test_pixelate_has_few_squares_also_for_small_faces() -> None:
    for side, most in ((160, 64), (20, 25), (7, 1)):
        result = anonymize(noise(200, 200), [face(10, 10, 10 + side, 10 + side)], method="pixelate", margin=0)
        colors = result.crop((10, 10, 10 + side, 10 + side)).getcolors(maxcolors=40000)
        assert colors is not None
        assert len(colors) <= most


@pytest.mark.parametrize("method", METHODS)
def test_anonymise_faces_at_the_border(method: Method) -> None:
    subjects = [face(-50, -50, 30, 30), face(180, 130, 260, 210), face(-90, 0, -50, 9), face(math.nan, 0, 9, 9)]
    image = noise(200, 150)
    result = anonymize(image, subjects, method=method)
    assert pixel(result, 0, 0) != pixel(image, 0, 0)
    assert pixel(result, 199, 149) != pixel(image, 199, 149)
    assert pixel(result, 100, 75) == pixel(image, 100, 75)


def test_anonymised_pictures_carry_nothing_along() -> None:
    image = grey()
    image.info["comment"] = b"secret"
    assert anonymize(image, []).info == {}


def test_bad_requests_to_anonymise_and_crop() -> None:
    with pytest.raises(UsageError, match="blur, pixelate"):
        anonymize(grey(), [], method="smear")  # type: ignore[arg-type]
    for margin in (-0.1, math.nan):
        with pytest.raises(UsageError, match="margin"):
            anonymize(grey(), [], margin=margin)
        with pytest.raises(UsageError, match="margin"):
            crop_face(grey(), face(1, 1, 9, 9), margin=margin)
    with pytest.raises(UsageError, match="size"):
        crop_face(grey(), face(1, 1, 9, 9), size=0)
    for lost in (face(300, 10, 350, 60), face(math.nan, 0, 9, 9)):
        with pytest.raises(ImageError, match="outside"):
            crop_face(grey(), lost)


def test_a_plain_crop_is_the_photo_itself() -> None:
    image = noise(200, 150)
    crop = crop_face(image, face(50, 40, 100, 100))
    assert changed(crop, image.crop((40, 28, 110, 112))) is None
    assert crop_face(image, face(-20, -20, 30, 30), margin=0).size == (30, 30)


def test_a_sized_crop_is_centred_and_black_beyond_the_photo() -> None:
    image = grey(300, 300)
    ImageDraw.Draw(image).rectangle((148, 0, 151, 299), fill="white")
    crop = crop_face(image, face(110, 100, 190, 200), size=70)
    assert crop.size == (70, 70)
    assert pixel(crop, 35, 10)[0] > 200
    assert pixel(crop, 10, 10) == GREY
    border = crop_face(grey(), face(-40, -40, 40, 40), size=56)
    assert pixel(border, 2, 2) == (0, 0, 0)
    assert pixel(border, 50, 50) == GREY


def test_a_crop_at_the_border_has_the_photo_s_own_pixels() -> None:
    image = noise(200, 150)
    crop = crop_face(image, face(0, 0, 40, 40), margin=0, size=40)
    assert changed(crop, image.crop((0, 0, 40, 40))) is None
    crop = crop_face(image, face(160, 110, 200, 150), margin=0, size=40)
    assert changed(crop, image.crop((160, 110, 200, 150))) is None


def test_a_cover_keeps_its_place_where_the_box_leaves_the_photo() -> None:
    cover = Image.new("RGB", (100, 100), "red")
    cover.paste("blue", (50, 0, 100, 100))
    hidden = anonymize(grey(), [face(-50, 20, 50, 120)], margin=0, cover=cover)
    assert pixel(hidden, 20, 70) == (0, 0, 255)
    hidden = anonymize(grey(), [face(150, 20, 250, 120)], margin=0, cover=cover)
    assert pixel(hidden, 180, 70) == (255, 0, 0)


@pytest.mark.parametrize("turn", [-150, -35, 0, 10, 90])
def test_aligned_eyes_are_level(turn: float) -> None:
    image = Image.new("RGB", (400, 400))
    subject = face(150, 140, 250, 260, turn)
    draw = ImageDraw.Draw(image)
    for point, color in zip(subject.landmarks, ("red", "lime", "black", "blue", "blue"), strict=True):
        draw.ellipse((point.x - 4, point.y - 4, point.x + 4, point.y + 4), fill=color)
    crop = crop_face(image, subject, align=True, size=168)
    red, green, blue = (channel.point(lambda value: 255 if value > 128 else 0).getbbox() for channel in crop.split())
    assert red is not None
    assert green is not None
    assert blue is not None
    assert abs(red[1] - green[1]) <= 1
    assert red[0] < green[0]
    assert blue[1] > red[3]
    assert abs((red[0] + green[2]) / 2 - 84) <= 1


def test_eyes_of_a_profile_do_not_turn_the_picture() -> None:
    upright = face(50, 40, 100, 100)
    left = upright.landmarks.left_eye
    profile = Face(upright.box, 0.9, upright.landmarks._replace(right_eye=Point(left.x + 1, left.y + 3)))
    assert (
        changed(crop_face(noise(200, 150), profile, align=True), crop_face(noise(200, 150), upright, align=True))
        is None
    )


def test_a_reduced_crop_does_not_alias() -> None:
    image = noise(800, 800)
    low, high = crop_face(image, face(100, 100, 700, 700), margin=0, size=20).convert("L").getextrema()
    assert low > 95  # type: ignore[operator]
    assert high < 160  # type: ignore[operator]
