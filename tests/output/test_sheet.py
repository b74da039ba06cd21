"""The contact sheet: layout, memory and limits."""

from __future__ import annotations

import pytest
from PIL import Image

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
    assert over.render().height > full.render().height


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
