"""Fonts and browser."""

from artquant_plugin.environment import display


def test_the_plots_font_comes_with_matplotlib():
    found = {finding.name: finding.state for finding in display.check_fonts()}
    assert found["DejaVu Sans"] == "ok"


def test_a_browser_is_found_under_any_of_its_names(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (absent,) = display.check_browser()
    assert absent.state == "note"
    (tmp_path / "google-chrome").touch(mode=0o755)
    (present,) = display.check_browser()
    assert (present.state, present.found) == ("ok", str(tmp_path / "google-chrome"))
