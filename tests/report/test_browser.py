"""The page in a real browser, from the disk: sorting, filtering, the dialog by mouse and by keyboard, nothing loaded
from elsewhere, no complaint in the console."""

import json

import numpy as np
import pytest

from artquant_plugin.report.analysis import analyse
from artquant_plugin.report.boards import read_boards
from artquant_plugin.report.model_predictions import PredictionColumns
from artquant_plugin.report.prediction_sources import parse_prediction_source
from artquant_plugin.report.site.build import build_site
from tests.browser import Browser, find_browser
from tests.report.results import write_csv, write_paintings, write_samples

COUNT = 60


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    dataset = write_paintings(folder / "baid", COUNT)
    truths = {row.id: row.score for row in dataset.split("test")}
    names = sorted(truths)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(3, COUNT))
    good = {
        name: round(float(np.clip(truths[name] + n / 2, 0, 10)), 3) for name, n in zip(names, noise[0], strict=True)
    }
    # Its scores are read from these words; the largest error is planted at p0007.
    good["p0007"] = 9.9
    levels = {
        name: json.dumps({"score": score, "levels": {"excellent": 0.75, "bad": 0.25}}) for name, score in good.items()
    }
    write_samples(folder / "runs" / "artquant", dataset, good, truths, kind="artquant", replies=levels)
    poor: dict[str, float | None] = {name: round(float(5 + n), 2) for name, n in zip(names, noise[1], strict=True)}
    poor["p0003"] = None
    write_samples(folder / "runs" / "<img src=x>", dataset, poor, truths, replies={"p0003": "I <em>refuse</em>."})
    saan = write_csv(
        folder / "SAAN.csv",
        [(f"{name}.png", round(truths[name] + 2 * n, 3)) for name, n in zip(names, noise[2], strict=True)],
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARTQUANT_DATA", str(folder))
        boards = read_boards(
            [parse_prediction_source(str(folder / "runs")), parse_prediction_source(f"{saan}@baid")],
            PredictionColumns(),
        )
    out = folder / "site"
    build_site(out, [analyse(board, resamples=200) for board in boards], title="Paintings <b>", workers=1)
    return out


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    with Browser(find_browser(), tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def page(started, site):
    """The dataset's page, freshly loaded; whatever the test did, nothing was complained of and nothing fetched."""
    started.problems.clear()
    started.requests.clear()
    started.resize(1280, 900)
    started.prefer("light")
    started.open(site / "baid.html")
    yield started
    started.run("1")  # events that are under way
    assert started.problems == []
    assert {address.partition(":")[0] for address in started.requests} <= {"file", "data"}
    assert started.run("window.hacked") is None


def column(page, number: int, table: str = "#board") -> list[str]:
    cells = page.texts(f"{table} tbody tr:not([hidden]) > :nth-child({number})")
    return [cell.partition("\n")[0] for cell in cells]


def heads(page) -> list[str]:
    return [text.replace("↕", "").replace("↓", "").replace("↑", "").strip() for text in page.texts("#board thead th")]


def test_published_and_measured_figures_stand_in_columns_of_their_own(page):
    names, header = column(page, 1), heads(page)
    assert names[:3] == ["artquant", "SAAN", "<img src=x>"]
    assert "GPT-4o" in names and len(names) == 3 + 8 + 2 - 2  # 10 rows of Table 1 on BAID, two of which are here
    measured, printed = header.index("SROCC") + 1, header.index("SROCC published") + 1
    by_name = dict(zip(names, zip(column(page, measured), column(page, printed), strict=True), strict=True))
    assert by_name["SAAN"][1] == "0.473 *"
    assert by_name["artquant"][1] == "0.543"
    assert by_name["<img src=x>"][1] == "-"
    assert by_name["GPT-4o"] == ("-", "0.122 *")


def test_sorting_by_mouse_and_by_keyboard(page):
    place = heads(page).index("PLCC published") + 1
    button = f"#board thead th:nth-child({place}) .sort"
    page.click(button)
    assert page.run(f"document.querySelector('{button}').closest('th').ariaSort") == "descending"
    values = [cell.rstrip(" *") for cell in column(page, place)]
    figures = [float(value) for value in values if value != "-"]
    assert figures == sorted(figures, reverse=True) and figures[0] == 0.589
    assert values[-1] == "-"  # nothing comes last
    page.run(f"document.querySelector('{button}').focus()")
    page.press("Enter")
    assert page.run(f"document.querySelector('{button}').closest('th').ariaSort") == "ascending"
    values = [cell.rstrip(" *") for cell in column(page, place)]
    assert (values[0], values[-1]) == ("0.062", "-")
    page.click("#board thead th:nth-child(1) .sort")
    assert column(page, 1) == sorted(column(page, 1), key=str.casefold)
    sorted_heads = "[...document.querySelectorAll('#board [aria-sort]')].filter((h) => h.ariaSort !== 'none').length"
    assert page.run(sorted_heads) == 1


def test_filtering_models(page):
    page.click('[data-filter="board"]')
    page.type("gpt")
    assert column(page, 1) == ["GPT-4o", "GPT-4o (+CoT)"]
    assert page.texts('[data-count="board"]') == ["2 of 11 rows"]
    page.click('[data-published="board"]')
    assert column(page, 1) == []
    page.run("document.querySelector('[data-filter=\"board\"]').select()")
    page.type("a")
    assert set(column(page, 1)) == {"artquant", "SAAN"}


def test_the_matrix_switches_metrics(page):
    shown = "[...document.querySelectorAll('[data-matrix]')].filter((m) => !m.hidden).map((m) => m.dataset.matrix)"
    assert page.run(shown) == ["srocc"]
    assert "+" in page.texts('[data-matrix="srocc"] td.better')[0]
    page.click('input[name="matrix"][value="plcc"]')
    assert page.run(shown) == ["plcc"]


def test_the_dialog_by_mouse(page):
    page.click("[data-gallery] li:first-child button")  # the largest error
    assert page.run("document.getElementById('painting').open")
    assert page.texts("#painting-h") == ["p0007"]
    page.wait("document.querySelectorAll('#painting .levels').length === 1")
    facts = page.texts("[data-facts]")[0]
    for part in ("1.95human score · sea & sky", "seen 7", "<b>felt</b>", "comment 7 </script>", "75.0 %", "9.90"):
        assert part in facts
    page.wait("document.querySelector('#painting img').naturalWidth > 0")
    assert page.run("document.querySelector('#painting img').alt") == "Painting p0007"
    page.click('#painting [data-step="1"]')
    assert page.texts("#painting-h") != ["p0007"]
    page.click("#painting [data-close]")
    assert not page.run("document.getElementById('painting').open")


def test_the_dialog_by_keyboard(page):
    page.run("document.querySelector('[data-gallery] li:nth-child(2) button').focus()")
    page.press("Enter")
    assert page.run("document.getElementById('painting').open")
    second = page.texts("#painting-h")
    page.press("ArrowLeft")
    assert page.texts("#painting-h") == ["p0007"]
    page.press("ArrowRight")
    assert page.texts("#painting-h") == second
    page.press("Escape")
    assert not page.run("document.getElementById('painting').open")
    assert page.run(
        "document.activeElement.closest('li') === document.querySelector('[data-gallery] li:nth-child(2)')"
    )


def choose(page, field: str, value: str) -> None:
    page.run(
        f"(() => {{ const f = document.querySelector('[data-case=\"{field}\"]'); f.value = '{value}';"
        "f.dispatchEvent(new Event('change')); })()"
    )


def test_cases_are_chosen_by_model_order_category_and_name(page):
    assert page.texts("[data-case-count]") == ["60 of 60 paintings"]
    assert len(page.texts("[data-gallery] li")) == 36
    page.click("[data-more]")
    assert len(page.texts("[data-gallery] li")) == 60
    choose(page, "category", "1")
    assert page.texts("[data-case-count]") == ["30 of 60 paintings"]
    choose(page, "order", "liked")
    assert page.texts("[data-gallery] li b")[:2] == ["p0059", "p0057"]
    page.click('[data-case="text"]')
    page.type("P0007")
    assert page.texts("[data-gallery] li b") == ["p0007"]


def test_a_reply_without_a_score_is_shown_as_text(page):
    choose(page, "model", "2")
    choose(page, "order", "unscored")
    assert page.texts("[data-gallery] li b") == ["p0003"]
    page.click("[data-gallery] li button")
    page.wait("document.querySelector('[data-facts]').innerText.includes('refuse')")
    assert "I <em>refuse</em>." in page.texts("[data-facts]")[0]


def test_a_dot_of_the_scatter_plot_opens_its_painting(page):
    page.run("document.querySelector('#scatter canvas').scrollIntoView({block: 'center', behavior: 'instant'})")
    page.wait("document.querySelector('#scatter canvas').width !== 300")
    # p0007: human score 1.949, prediction 9.9: the only dot at the upper left.
    drawn = page.run(
        """(() => { const c = document.querySelector('#scatter canvas'); const r = c.width / c.clientWidth;
        const pixels = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        let found = null;
        for (let j = 0; j < c.height / 3 && !found; j++) for (let i = Math.round(45 * r); i < c.width / 2; i++) {
          const k = 4 * (j * c.width + i);
          if (pixels[k + 3] > 120 && pixels[k + 2] - pixels[k] > 50) { found = [i / r, j / r]; break; } }
        const box = c.getBoundingClientRect();
        return found && [box.left + found[0], box.top + found[1] + 2]; })()"""
    )
    assert drawn is not None
    page.send("Input.dispatchMouseEvent", type="mouseMoved", x=drawn[0], y=drawn[1])
    assert "p0007" in page.texts("[data-tip]")[0]
    page.click_at(*drawn)
    assert page.texts("#painting-h") == ["p0007"]


def test_more_than_a_thousand_paintings_are_counted_in_hexagons(started, tmp_path, monkeypatch):
    monkeypatch.setenv("ARTQUANT_DATA", str(tmp_path / "none"))
    # 900 paintings of human score 2 that are predicted as 8, and 101 of human score 9 predicted as 1.
    truths = {f"p{i}": 2.0 if i < 900 else 9.0 for i in range(1001)}
    predictions: dict[str, float | None] = {name: 8.0 if truth == 2.0 else 1.0 for name, truth in truths.items()}
    write_samples(tmp_path / "runs" / "m", "baid", predictions, truths)
    (board,) = read_boards([parse_prediction_source(str(tmp_path / "runs"))], PredictionColumns())
    build_site(tmp_path / "site", [analyse(board, resamples=0)], title="t", workers=1)
    started.prefer("light")
    started.open(tmp_path / "site" / "baid.html")
    started.run("document.querySelector('#scatter canvas').scrollIntoView({block: 'center', behavior: 'instant'})")
    started.wait("document.querySelector('#scatter .scale').innerText.includes('hexagon')")
    assert started.texts("#scatter .scale span") == ["900 per hexagon"]
    assert "they are counted in hexagons" in started.texts("#scatter p")[0]


def test_paintings_below_the_error_plot_open(page):
    page.run("document.querySelector('[data-quality]').scrollIntoView({block: 'center', behavior: 'instant'})")
    page.wait("document.querySelectorAll('.strip button').length > 5")
    page.click(".strip button:first-child")
    assert page.run("document.getElementById('painting').open")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(page, scheme):
    page.prefer(scheme)
    contrast = page.run(
        """(() => { const rgb = (c) => { const v = document.createElement('canvas').getContext('2d'); v.fillStyle = c;
          v.fillRect(0, 0, 1, 1); return [...v.getImageData(0, 0, 1, 1).data].slice(0, 3); };
        const light = (c) => { const [r, g, b] = rgb(c).map((x) => { x /= 255;
          return x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4; });
          return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        const found = [];
        for (const e of document.querySelectorAll('.lead, .note, .better, .worse, .tie, .heat, td, th, dt, .sort')) {
          let g = e;
          while (g && /, 0\\)|transparent/.test(getComputedStyle(g).backgroundColor)) g = g.parentElement;
          const a = light(getComputedStyle(e).color), b = light(getComputedStyle(g ?? document.body).backgroundColor);
          found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.className]); }
        return found.sort((x, y) => x[0] - y[0])[0]; })()"""
    )
    assert contrast[0] >= 4.5, contrast  # WCAG 2.2, 1.4.3


@pytest.mark.parametrize("width", [360, 1280])
def test_no_page_scrolls_sideways(page, site, width):
    page.resize(width, 800)
    for name in ("index.html", "baid.html"):
        page.open(site / name)
        assert page.run("document.documentElement.scrollWidth") <= width


def test_every_picture_and_control_has_a_name(page):
    page.wait("document.querySelectorAll('canvas').length > 4")
    nameless = page.run(
        """[...document.querySelectorAll('button, select, input, canvas, a')].filter((e) =>
        !(e.textContent.trim() || e.ariaLabel || e.labels?.length)).map((e) => e.outerHTML.slice(0, 120))"""
    )
    assert nameless == []
    assert page.run("[...document.querySelectorAll('table')].every((t) => t.caption)")
    assert page.run("[...document.querySelectorAll('img')].every((i) => i.hasAttribute('alt'))")
    assert page.run("new Set([...document.querySelectorAll('[id]')].map((e) => e.id)).size") == page.run(
        "document.querySelectorAll('[id]').length"
    )


def test_the_index_leads_to_the_dataset(page, site):
    page.open(site / "index.html")
    assert page.run("document.title") == "Paintings <b>"
    assert "ArtQuant" not in column(page, 1, "#overview")  # its published row is the measured model's own
    page.click(".card")
    page.wait("location.pathname.endsWith('baid.html') && document.readyState === 'complete'")
