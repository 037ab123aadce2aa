import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.report.analysis import analyse
from artquant_plugin.report.boards import read_boards
from artquant_plugin.report.model_predictions import PredictionColumns
from artquant_plugin.report.prediction_sources import parse_prediction_source
from artquant_plugin.report.site.build import LOCK, build_site
from artquant_plugin.report.site.page_pictures import PREVIEW, THUMBNAIL, remove_other_pictures, write_pictures
from artquant_plugin.report.site.page_scripts import script_json
from tests.kills import kills
from tests.locks import held_by_another_process
from tests.report.results import write_csv, write_paintings, write_samples

EVIL = '"><script>alert(1)</script>&'


@pytest.fixture
def analysis(tmp_path, monkeypatch):
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path))
    dataset = write_paintings(tmp_path / "baid", 12)
    truths = {row.id: row.score for row in dataset.split("test")}
    write_samples(tmp_path / "r" / "ArtQuant", dataset, {name: t * 0.9 for name, t in truths.items()}, truths)
    evil = write_csv(tmp_path / "p.csv", [(name, t * t) for name, t in truths.items()])
    sources = [parse_prediction_source(str(tmp_path / "r")), parse_prediction_source(f"{EVIL}={evil}@baid")]
    (board,) = read_boards(sources, PredictionColumns())
    return analyse(board, resamples=20, pair_resamples=20)


class Elements(HTMLParser):
    """Tags and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_page_is_whole_and_names_nothing_outside_itself(analysis, tmp_path):
    out = tmp_path / "site"
    lines = build_site(out, [analysis], title=EVIL, workers=1)
    assert lines == ["baid: 2 models, 12 paintings, 12 pictures", str(out / "index.html")]
    for page in ("index.html", "baid.html"):
        text = (out / page).read_text()
        assert "alert(1)</script>" not in text
        for tag, attributes in Elements(text).found:
            for name in ("src", "href"):
                target = attributes.get(name)
                if target and not target.startswith(("#", "data:")):
                    assert (out / target).is_file(), target
            assert (
                tag != "style" and "style" not in attributes and not any(name.startswith("on") for name in attributes)
            )
    everything = "".join((out / name).read_text() for name in files(out) if not name.endswith(".jpg"))
    assert not re.search(r"https?://", everything)
    assert str(tmp_path) not in everything  # where things are on this machine is nobody's business


def test_the_tables_lie_beside_the_page(analysis, tmp_path):
    build_site(tmp_path / "site", [analysis], title="t", workers=1)
    tables = files(tmp_path / "site" / "tables")
    kinds = ("leaderboard", "pairs", "categories", "bands", "attributes")
    assert tables == {f"{kind}-baid.{ending}" for kind in kinds for ending in ("md", "csv", "tex")}
    text = (tmp_path / "site" / "tables" / "leaderboard-baid.md").read_text()
    assert re.search(r"\| ArtQuant \| 12 \| 0 \| 1\.000 .*\| 0\.543 \| 0\.589 \|", text)
    assert "* GPT-4o: Both figures equal" in text


def test_a_second_page_replaces_the_first_and_keeps_its_pictures(analysis, tmp_path):
    out = tmp_path / "site"
    build_site(out, [analysis], title="t", workers=1)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.jpg")}
    assert len(before) == 12
    (out / "data" / "gone.js").write_text("")
    record = json.loads((out / "report.json").read_text())
    (out / "report.json").write_text(
        json.dumps({**record, "files": [*record["files"], "data/gone.js", "../evil", ".."]})
    )
    (tmp_path / "evil").write_text("stays")
    build_site(out, [analysis], title="other", workers=1)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.jpg")} == before
    assert not (out / "data" / "gone.js").exists()
    assert (tmp_path / "evil").read_text() == "stays"
    assert "other" in (out / "index.html").read_text()


def test_a_folder_of_something_else_is_left_alone(analysis, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("x")
    with pytest.raises(ArtQuantError, match="holds other things .'chapter.tex'.; name a new folder"):
        build_site(tmp_path / "thesis", [analysis], title="t")
    with pytest.raises(ArtQuantError, match="is a file; name a folder"):
        build_site(tmp_path / "p.csv", [analysis], title="t")


def test_without_the_datasets_folder_there_are_no_pictures_and_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path / "none"))
    write_samples(tmp_path / "m", "baid", {"a": 1.0, "b": 3.0, "c": 2.0}, {"a": 1.0, "b": 2.0, "c": 3.0})
    (board,) = read_boards([parse_prediction_source(str(tmp_path / "m"))], PredictionColumns())
    lines = build_site(tmp_path / "site", [analyse(board, resamples=0)], title="t")
    assert "there are no pictures" in lines[0]
    assert "there are no pictures" in (tmp_path / "site" / "baid.html").read_text()


def test_datasets_of_like_names_have_pages_of_their_own(tmp_path, analysis):
    names = []
    for name in ("a b", "a/b", "index"):
        board = analysis.board
        other = type(board)(name, *(getattr(board, field) for field in board.__slots__ if field != "dataset"))
        names.append(analyse(other, resamples=0, pair_resamples=5))
    build_site(tmp_path / "site", names, title="t", workers=1)
    pages = {name for name in files(tmp_path / "site") if name.endswith(".html")}
    assert pages == {"index.html", "a-b.html", "a-b-2.html", "index-2.html"}


def test_json_in_a_script_ends_no_script():
    text = script_json({"a": "</script><!--\u2028&"})
    assert not set(text) & set("<>&\u2028")
    assert json.loads(text) == {"a": "</script><!--\u2028&"}


def test_pictures_are_small_upright_and_made_once(tmp_path):
    pixels = np.zeros((900, 1600, 3), dtype=np.uint8)
    pixels[:, :800] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise: the white left becomes the top
    Image.fromarray(pixels).save(tmp_path / "large.jpg", exif=exif)
    Image.new("RGBA", (50, 40), (255, 0, 0, 0)).save(tmp_path / "small.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 nothing")
    images = {name.partition(".")[0]: tmp_path / name for name in ("large.jpg", "small.png", "broken.jpg")}
    pictures, failed = write_pictures(images, ["large", "small"], tmp_path / "out", workers=1)
    assert failed == ["broken"]
    assert pictures["large"].preview and not pictures["small"].preview
    thumb = Image.open(tmp_path / "out" / "thumbs" / f"{pictures['large'].name}.jpg")
    assert thumb.size == (THUMBNAIL * 9 // 16, THUMBNAIL)
    assert thumb.getpixel((60, 10))[0] > 240 and thumb.getpixel((60, 230))[0] < 15
    assert Image.open(tmp_path / "out" / "previews" / f"{pictures['large'].name}.jpg").height == PREVIEW
    small = Image.open(tmp_path / "out" / "thumbs" / f"{pictures['small'].name}.jpg")
    assert small.size == (50, 40) and min(small.getpixel((20, 20))) > 250  # transparency stands on white
    again, failed = write_pictures({"large": images["large"]}, [], tmp_path / "out", workers=1)
    assert again["large"].name == pictures["large"].name
    remove_other_pictures(tmp_path / "out", again.values())
    assert files(tmp_path / "out") == {f"{kind}/{again['large'].name}.jpg" for kind in ("thumbs", "previews")}


def test_a_disk_that_is_full_is_no_unreadable_picture(tmp_path):
    Image.new("RGB", (50, 40)).save(tmp_path / "a.png")
    images = {"a": tmp_path / "a.png"}
    (name,) = (picture.name for picture in write_pictures(images, [], tmp_path / "out", workers=1)[0].values())
    thumb = tmp_path / "out" / "thumbs" / f"{name}.jpg"
    thumb.unlink()
    thumb.mkdir()  # nothing can be put in its place, as on a full disk
    with pytest.raises(ArtQuantError, match="thumbs/.*cannot be written"):
        write_pictures(images, [], tmp_path / "out", workers=1)


def test_tables_of_datasets_of_like_names_have_names_of_their_own(tmp_path, analysis):
    board = analysis.board
    fields = [getattr(board, field) for field in board.__slots__ if field != "dataset"]
    both = [analyse(type(board)(name, *fields), resamples=0, pair_resamples=5) for name in ("a b", "a-b")]
    out = tmp_path / "site"
    build_site(out, both, title="t", workers=1)
    for slug, name in (("a-b", "a b"), ("a-b-2", "a-b")):
        assert (out / "tables" / f"leaderboard-{slug}.md").read_text().startswith(f"**{name}: measured")
        assert f'href="tables/pairs-{slug}.tex"' in (out / f"{slug}.html").read_text()
        assert f"\\label{{tab:leaderboard-{slug}}}" in (out / "tables" / f"leaderboard-{slug}.tex").read_text()


def whole_pages(out: Path) -> dict[str, str]:
    """The titles of a report's pages; everything that a page loads is there, as the same build wrote it."""
    titles = {}
    for page in sorted(out.glob("*.html")):
        elements = Elements(page.read_text()).found
        loaded = [element.get("src") or element.get("href") for tag, element in elements if tag in ("script", "link")]
        builds = {re.search(r"[0-9a-f]{12}", name).group() for name in loaded if name and not name.startswith("data:")}
        assert len(builds) == 1
        for _, element in elements:
            target = element.get("src") or element.get("href")
            if target and not target.startswith(("#", "data:")):
                assert (out / target).is_file(), (page.name, target)
        for script in loaded:
            if script.startswith("data/"):
                numbers = json.loads((out / script).read_text().partition(" = ")[2].rstrip(";\n"))
                for name in filter(None, numbers["pictures"]):
                    assert (out / "pictures" / numbers["slug"] / "thumbs" / f"{name}.jpg").is_file()
                assert (out / f"{script.removesuffix('.js')}-0.js").is_file()
        titles[page.name] = re.search(r"<title>.*?(\w+)</title>", page.read_text()).group(1)
    return titles


@pytest.fixture
def two_analyses(tmp_path, monkeypatch):
    """An older and a newer state of a board, whose pictures differ."""
    found = []
    for count in (3, 4):
        monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path / f"home{count}"))
        dataset = write_paintings(tmp_path / f"home{count}" / "baid", count)
        truths = {row.id: row.score for row in dataset.split("test")}
        write_samples(tmp_path / f"r{count}" / "m", dataset, dict(truths), truths)
        (board,) = read_boards([parse_prediction_source(str(tmp_path / f"r{count}"))], PredictionColumns())
        found.append(analyse(board, resamples=0))
    return found


@pytest.mark.slow
def test_a_report_that_is_killed_leaves_the_old_pages_or_new_ones_whole(tmp_path, two_analyses):
    older, newer = two_analyses
    out, kept = tmp_path / "site", tmp_path / "kept"
    build_site(kept, [older], title="old", workers=1)
    build_site(out, [newer], title="new", workers=1)
    expected = {name: (out / name).read_bytes() for name in files(out)}

    def renew():
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(kept, out)

    def action():
        build_site(out, [newer], title="new", workers=1)

    seen = set()
    for operation, side in kills(action, tmp_path, renew):
        titles = whole_pages(out)
        assert set(titles) == {"baid.html", "index.html"}, (operation, side)
        seen.add((titles["baid.html"], titles["index.html"]))
        action()
        assert {name: (out / name).read_bytes() for name in files(out)} == expected, (operation, side)
        assert not list(out.glob(".part-*"))
    # The index, which names the others, never comes before them.
    assert seen == {("old", "old"), ("new", "old"), ("new", "new")}


@pytest.mark.slow
def test_a_first_report_that_is_killed_is_made_by_the_next_one(tmp_path, two_analyses):
    out = tmp_path / "site"

    def action():
        build_site(out, two_analyses[:1], title="new", workers=1)

    for operation, side in kills(action, tmp_path, lambda: shutil.rmtree(out, ignore_errors=True)):
        if (out / "index.html").exists():
            assert whole_pages(out) == {"baid.html": "new", "index.html": "new"}, (operation, side)
        if side == "after":
            continue  # what it left is what the kill before the next operation leaves
        action()
        assert whole_pages(out) == {"baid.html": "new", "index.html": "new"}, (operation, side)
        assert not list(out.glob(".part-*"))


def test_two_reports_into_one_folder_do_not_mix(tmp_path, analysis):
    out = tmp_path / "site"
    build_site(out, [analysis], title="t", workers=1)
    with held_by_another_process(out / LOCK):
        with pytest.raises(ArtQuantError, match="another process is writing '.*site'"):
            build_site(out, [analysis], title="other", workers=1)
    assert whole_pages(out)["index.html"] == "t"


def test_half_an_emoji_in_a_reply_is_no_traceback(tmp_path, monkeypatch):
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path / "none"))
    truths = {name: float(place) for place, name in enumerate("abc")}
    write_samples(tmp_path / "m", "baid", {"a": None, "b": 1.0, "c": 2.0}, truths, replies={"a": "Nice \ud83d!"})
    (board,) = read_boards([parse_prediction_source(str(tmp_path / "m"))], PredictionColumns())
    build_site(tmp_path / "site", [analyse(board, resamples=0)], title="t \ud83d", workers=1)
    assert any("Nice ?!" in path.read_text() for path in (tmp_path / "site" / "data").iterdir())


def test_too_few_paintings_are_called_so_on_every_page(tmp_path, monkeypatch):
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path / "none"))
    truths = {name: float(place) for place, name in enumerate("abc")}
    for model, sign in (("up", 1), ("down", -1)):
        write_samples(tmp_path / "r" / model, "baid", {name: 5 + sign * t for name, t in truths.items()}, truths)
    (board,) = read_boards([parse_prediction_source(str(tmp_path / "r"))], PredictionColumns())
    out = tmp_path / "site"
    build_site(out, [analyse(board)], title="t", workers=1)
    for page in ("index.html", "baid.html"):
        text = (out / page).read_text()
        assert "too few" in text and "p 0.0" not in text and "1.000 – 1.000" not in text
    assert "3 pairs are too few for intervals and tests, which take 10 or more" in (out / "baid.html").read_text()
    for name in ("leaderboard", "pairs"):
        for ending in ("md", "csv", "tex"):
            text = (out / "tables" / f"{name}-baid.{ending}").read_text()
            assert "1.000 [" not in text
            # CSV has no value in the place of an end that does not exist; the others say why there is none.
            assert re.search(r",-?[12]\.0,,,", text) if ending == "csv" else ("(too few)" in text)


def test_an_outlier_is_named_on_the_page_and_in_the_tables(tmp_path, monkeypatch):
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path / "none"))
    truths = {f"p{place:02}": float(place % 9) for place in range(30)}
    write_samples(tmp_path / "m", "baid", {**truths, "p07": 1e9}, truths)
    (board,) = read_boards([parse_prediction_source(str(tmp_path / "m"))], PredictionColumns())
    out = tmp_path / "site"
    build_site(out, [analyse(board)], title="t", workers=1)
    for name in ("baid.html", "tables/leaderboard-baid.md"):
        assert "whose prediction 1e+09 has 97 % of the predictions" in (out / name).read_text()
