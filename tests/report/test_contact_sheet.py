"""The contact sheet: one file that shows whose picture has which score, whatever names and pictures there are."""

import re

import pytest
from PIL import Image

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.report.site.contact_sheet import (
    GONE,
    SEVERAL,
    ContactSheet,
    RankedPicture,
    common_folder,
    sheet_writer,
    write_contact_sheet,
)
from tests.browser import Browser, find_browser
from tests.locks import held_by_another_process

LEVELS = {"good": 0.75, "bad": 0.25}


def ranked(*names: str) -> list[RankedPicture]:
    return [RankedPicture(name, 9.0 - place, LEVELS) for place, name in enumerate(names)]


@pytest.fixture
def pictures(tmp_path):
    for name, colour in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (600, 300), colour).save(tmp_path / f"{name}.png")
    (tmp_path / "x.png").write_text("<html>")
    return tmp_path


def write(path, sheet, *given):
    with sheet_writer(path):
        write_contact_sheet(path, sheet, given)
    return path.read_text()


def test_the_page_holds_pictures_scores_names_and_reasons_best_first(pictures):
    sheet = ContactSheet("runs/m", 1234, 2, ranked("in/a", "in/b"), [("x.png", "it is no image"), ("y", "gone")])
    # the pictures come in another order than the ranks
    page = write(pictures / "s.html", sheet, ("in/b", pictures / "b.png"), ("in/a", (pictures / "a.png").read_bytes()))
    assert re.findall(r"<b>([\d.]+)</b>", page) == ["9.00", "8.00"]
    assert re.findall(r'class="name">(.*?)<', page) == ["a", "b"]
    assert "2 of 1,234 scored pictures, best first; 2 without a score." in page and "<dd>in/</dd>" in page
    assert "good 75%" in page and "it is no image" in page
    assert len(re.findall(r'src="data:image/jpeg;base64,', page)) == 2
    assert not re.search(r"""(?:src|href)="(?!data:|#)""", page) and "<script" not in page and "url(" not in page


def test_names_are_text_and_control_nothing(pictures):
    name = "<script>alert(1)</script>\u202e\x1b\udcff.png"
    page = write(pictures / "s.html", ContactSheet(name, 1, 1, ranked(name), [(name, name)]))
    assert "<script" not in page and "\u202e" not in page and "\x1b" not in page
    assert page.count("&lt;script&gt;") >= 4


def test_a_picture_that_is_broken_gone_or_not_the_only_one_has_its_reason(pictures):
    sheet = ContactSheet("m", 4, 0, ranked("x", "gone", "twice", "same", "remote"))
    a, b = pictures / "a.png", pictures / "b.png"
    given = [("x", pictures / "x.png"), ("twice", a), ("twice", b), ("same", a), ("same", a)]
    page = write(pictures / "s.html", sheet, *given, ("remote", ArtQuantError("it cannot be fetched")))
    shown = re.findall(r'class="mat">(?:<span class="blank">(.*?)</span>|<img)', page)
    assert "x.png&#39; is no image but an HTML page" in shown[0]
    assert shown[1:] == [GONE, SEVERAL, "", "it cannot be fetched"]


def test_nothing_but_a_contact_sheet_is_replaced(pictures):
    page = pictures / "s.html"
    write(page, ContactSheet("m", 0, 0, []))
    write(page, ContactSheet("n", 0, 0, []))
    page.write_text("<!doctype html><title>mine</title>")
    for path, message in (
        (page, "exists and is no contact sheet; remove it, or name another --sheet"),
        (pictures / "s.png", "is no local path that ends with .html"),
        (pictures, "is no local path that ends with .html"),
        (pictures / "a.png" / "s.html", "cannot be written"),
    ):
        with pytest.raises(ArtQuantError, match=message), sheet_writer(path):
            pass
    assert "mine" in page.read_text()
    other = pictures / "t.html"
    lock = pictures / ".t.html.lock"
    with held_by_another_process(lock), pytest.raises(ArtQuantError, match="another process is writing"):
        with sheet_writer(other):
            pass
    assert not list(pictures.glob(".*.tmp"))


def test_the_folder_that_all_names_share_is_named_once():
    assert common_folder(["a/b/1", "a/b/2"]) == "a/b/"
    assert common_folder(["a/bc/1", "a/bd/2"]) == "a/"
    assert common_folder(["/x/1"]) == "/x/"
    assert common_folder(["1", "a/2"]) == common_folder([]) == ""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_window_in_both_colour_schemes(pictures, scheme, tmp_path):
    name = "a-long-name-without-a-space-" * 6 + ".png"
    sheet = ContactSheet("runs/" + name, 3, 1, ranked(name, "b", "gone"), [(name, "reason " * 40)])
    write(pictures / "s.html", sheet, (name, pictures / "a.png"), ("b", pictures / "b.png"))
    with Browser(find_browser(), tmp_path / "profile") as browser:
        browser.prefer(scheme)
        for width in (380, 1400):
            browser.resize(width, 900)
            browser.open(pictures / "s.html")
            assert browser.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
            assert browser.run("[...document.images].every((image) => image.naturalWidth === 240)")
        background = browser.run("getComputedStyle(document.body).backgroundColor")
        assert background == ("rgb(250, 248, 243)" if scheme == "light" else "rgb(21, 20, 26)")
        assert not browser.problems and len(browser.requests) <= 8
