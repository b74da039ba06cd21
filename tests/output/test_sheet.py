"""The contact sheet: layout, memory and limits."""

from __future__ import annotations

import pytest
from PIL import Image, ImageChops

from aicli.errors import UsageError
from aicli.output.pictures.sheet import ContactSheet


def filled(count: int, size: tuple[int, int] = (30, 20)) -> ContactSheet:
    sheet, image = ContactSheet(), Image.new("RGB", size, "red")
    for number in range(count):
        sheet.add(image, f"IMG_{number}.jpg", "military uniform 91.3%")
    return sheet


def test_a_sheet_is_about_four_by_three() -> None:
    for count in (12, 50, 300):
        width, height = filled(count).render().size
        assert 1 < width / height < 1.8


def test_columns_can_be_chosen() -> None:
    narrow, wide = filled(6).render(columns=1), filled(6).render(columns=6)
    assert narrow.height > 5 * narrow.width / 2
    assert wide.width > 4 * wide.height
    assert filled(2).render(columns=50).size == filled(2).render(columns=2).size
    with pytest.raises(UsageError, match="column"):
        filled(2).render(columns=0)


def test_an_empty_sheet_is_refused() -> None:
    with pytest.raises(UsageError, match="no photo"):
        ContactSheet().render()


def test_thumbnails_are_kept_small_and_shrink_with_their_number() -> None:
    sheet = filled(61, (1200, 600))
    sizes = {entry.thumbnail.size for entry in sheet._entries}
    assert sizes == {(180, 90)}
    assert {entry.thumbnail.size for entry in filled(1, (40, 30))._entries} == {(40, 30)}
    assert filled(1, (5000, 1)).render().mode == "RGB"


def test_photos_beyond_the_limit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ContactSheet, "LIMIT", 4)
    full, over = filled(4), filled(7)
    assert len(over) == 7
    pictures = full.render(), over.render()
    assert pictures[1].height > pictures[0].height
    foot = pictures[1].crop((0, pictures[0].height, pictures[1].width, pictures[1].height))
    assert foot.convert("L").getextrema()[1] > 100  # type: ignore[operator] # "and 3 more"


def test_both_captions_stand_below_the_photo() -> None:
    def sheet(*captions: str) -> Image.Image:
        made = ContactSheet()
        made.add(Image.new("RGB", (300, 300), "red"), *captions)
        return made.render()

    bare = sheet("", "")
    first, second = (
        ImageChops.difference(bare, other).getbbox() for other in (sheet("a photo", ""), sheet("", "a label"))
    )
    red = bare.getchannel("R").point(lambda value: 255 if value == 255 else 0).getbbox()
    assert first is not None and second is not None and red is not None
    assert red[3] <= first[1] < first[3] < second[3] <= bare.height
    assert first[3] <= second[1] + 4  # the tails of letters may reach down to the next line


def test_a_small_photo_is_not_enlarged() -> None:
    made = ContactSheet()
    made.add(Image.new("RGB", (40, 30), (255, 0, 0)), "", "")
    sheet = made.render()
    red = sheet.getchannel("R").point(lambda value: 255 if value == 255 else 0).getbbox()
    assert red is not None and (red[2] - red[0], red[3] - red[1]) == (40, 30)


def test_a_narrow_photo_is_in_the_middle_of_its_square() -> None:
    sheet = ContactSheet()
    sheet.add(Image.new("RGB", (30, 90), "red"), "", "")
    picture = sheet.render()
    background = picture.getpixel((0, 0))
    assert isinstance(background, tuple)
    square = ImageChops.difference(picture, Image.new("RGB", picture.size, background)).getbbox()
    red = picture.getchannel("R").point(lambda value: 255 if value == 255 else 0).getbbox()
    assert square is not None and red is not None
    assert abs((red[0] + red[2]) - (square[0] + square[2])) <= 2
    assert abs((red[1] + red[3]) - (square[1] + square[3])) <= 2


def test_any_caption_and_any_mode() -> None:
    sheet = ContactSheet()
    for mode in ("L", "RGBA", "P", "CMYK"):
        sheet.add(Image.new(mode, (300, 500)), "a\nb\udcff日本" * 20, "[red]\x1b[1m")
    result = sheet.render()
    assert result.height < 900


def test_thousands_of_photos_fit_one_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aicli.output.pictures.sheet._line", lambda *args, **options: None)  # text is what takes time
    width, height = filled(ContactSheet.LIMIT, (2, 2)).render().size
    assert max(width, height) < 7000
