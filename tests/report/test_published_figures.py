import re

import pytest

from artquant_plugin.report.published_figures import dataset_note, full_sources, published_figures, same_method
from tests.paths import shared


def test_table_1_has_all_rows():
    assert [row.method for row in published_figures("apdd")] == [
        "Qwen-VL-Plus",
        "Qwen-VL-Plus (+CoT)",
        "GPT-4o",
        "GPT-4o (+CoT)",
        "SAAN",
        "AANSPS",
        "ArtCLIP",
        "ArtQuant",
    ]
    assert len(published_figures("baid")) == 10
    assert len(published_figures("vaps")) == 7
    assert published_figures("artquant_demo") == []
    (ours,) = (row for row in published_figures("vaps") if row.method == "ArtQuant")
    assert (ours.srocc, ours.plcc, ours.epochs, ours.modality) == (0.625, 0.681, "4/2/8", "I+T")
    assert ours.source == "Table 1 of the ArtQuant paper" and "AAAI 2026, Table 1" in full_sources()[0]


def test_every_figure_is_that_of_the_paper():
    """Compared with the paper's own text, where it is at hand."""
    text = shared("paper/artquant.md").read_text(encoding="utf-8")
    start = text.index("Model\tAPDD")
    lines = text[start : text.index("Table 1: Score regression", start)].splitlines()
    printed = {}
    for line in lines:
        cells = re.sub(r"</?b>", "", line).split("\t")
        name = re.sub(r" \([A-Z].*? (?:et al\. )?\d{4}\w?\)", "", cells[0])
        for dataset, (ranked, linear) in zip(("apdd", "baid", "vaps"), ((1, 2), (3, 4), (5, 6)), strict=True):
            if len(cells) == 9 and re.fullmatch(r"0\.\d{3}", cells[ranked]):
                printed[name, dataset] = (float(cells[ranked]), float(cells[linear]), cells[7], cells[8])
    assert len(printed) == 8 + 10 + 7
    ours = {
        (row.method, row.dataset): (row.srocc, row.plcc, row.epochs or "–", row.modality)
        for dataset in ("apdd", "baid", "vaps")
        for row in published_figures(dataset)
    }
    assert ours == printed


def test_what_looks_wrong_is_said():
    rows = {row.method: row for row in published_figures("baid")}
    for twin, other in (("GPT-4o", "Qwen-VL-Plus"), ("GPT-4o (+CoT)", "Qwen-VL-Plus (+CoT)")):
        assert (rows[twin].srocc, rows[twin].plcc) == (rows[other].srocc, rows[other].plcc)
        assert other in rows[twin].note and twin in rows[other].note
    assert "0.4722" in rows["SAAN"].note
    assert rows["ArtQuant"].note == ""
    apdd = {row.method: row for row in published_figures("apdd")}
    assert "above its PLCC" in apdd["SAAN"].note
    assert [row.method for row in apdd.values() if row.srocc > row.plcc] == ["SAAN"]
    assert "No split of VAPS" in dataset_note("vaps")


@pytest.mark.parametrize(
    ("name", "same"), [("saan", True), ("GPT_4o", True), ("gpt-4o (cot)", False), ("GPT-4o-mini", False)]
)
def test_a_measured_model_is_put_beside_its_published_row_by_name_alone(name, same):
    assert any(same_method(name, method) for method in ("SAAN", "GPT-4o")) == same
    assert same_method("gpt-4o (cot)", "GPT-4o (+CoT)")
