"""Bounds from metadata, tested versions from the constraints, and what is installed."""

import pytest

from artquant_plugin.environment import packages
from artquant_plugin.environment.requirements import extras, pinned_versions, requirements, unmet
from tests.environment.distributions import write_metadata


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """An artquant-plugin whose metadata asks for made-up packages, some of them installed."""
    lines = [
        "Requires-Python: >=3.11",
        "Requires-Dist: painted<3,>=2",
        "Requires-Dist: framed>=1",
        'Requires-Dist: elsewhere; sys_platform == "no such platform"',
        'Requires-Dist: carved>=5; extra == "carving"',
        'Requires-Dist: chisel<2; extra == "carving"',
        'Requires-Dist: hammer; extra == "dev"',
        *(f"Provides-Extra: {name}" for name in ("carving", "dev")),
    ]
    write_metadata(tmp_path, "artquant-plugin", "9", *lines)
    write_metadata(tmp_path, "painted", "3.1")
    write_metadata(tmp_path, "chisel", "2.0")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_this_environment_meets_our_bounds():
    assert requirements()
    assert unmet(requirements()) == []


def test_bounds_are_those_of_the_metadata_for_this_platform(installed):
    painted, framed = requirements()
    assert (painted.package, painted.installed, painted.broken) == ("painted", "3.1", "<3")
    assert painted.complaint == "painted 3.1 is installed, artquant-plugin needs painted<3"
    assert painted.remedy == "pip install 'painted<3'"
    assert framed.complaint == "framed is not installed, artquant-plugin needs framed>=1"
    assert framed.remedy == "pip install 'framed>=1'"
    assert unmet([painted, framed]) == [painted, framed]


def test_a_pre_release_within_the_bounds_is_within_them(tmp_path, monkeypatch):
    write_metadata(tmp_path, "artquant-plugin", "9", "Requires-Dist: painted>=2")
    write_metadata(tmp_path, "painted", "2.5rc1")
    monkeypatch.syspath_prepend(tmp_path)
    assert unmet(requirements()) == []


def test_packages_outside_the_bounds_are_problems(installed):
    found = {finding.name: finding for finding in packages.check_packages()}
    assert (found["painted"].state, found["framed"].state) == ("problem", "problem")
    assert found["framed"].found == "missing"
    assert "elsewhere" not in found


def test_an_extra_that_is_not_installed_is_one_note_whatever_else_it_names(installed):
    """Its second package, here in a wrong version, may be there for other reasons."""
    assert extras() == ["carving"]
    (finding,) = packages.check_extras()
    assert (finding.state, finding.name, finding.found) == ("note", "carved", "absent")
    assert finding.remedy == "pip install 'artquant-plugin[carving]'"


def test_an_extra_that_is_installed_is_held_to_its_bounds(installed):
    write_metadata(installed, "carved", "5.0")
    carved, chisel = packages.check_extras()
    assert carved.state == "ok"
    assert (chisel.state, chisel.remedy) == ("problem", "pip install 'chisel<2'")


def test_another_version_than_the_tested_one_is_a_note(tmp_path, monkeypatch):
    write_metadata(tmp_path, "artquant-plugin", "9", "Requires-Dist: painted>=2", "Requires-Dist: framed")
    write_metadata(tmp_path, "painted", "2.5")
    write_metadata(tmp_path, "framed", "1.0+cpu")
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "pins.txt"
    path.write_text("painted==2.4\nframed==1.0+cu130\n")
    found = {finding.name: finding for finding in packages.check_packages(pinned_versions(path))}
    assert (found["painted"].state, found["painted"].tested) == ("note", "2.4")
    assert found["painted"].remedy == "pip install 'painted==2.4'"
    assert found["framed"].state == "ok"  # the same release, built for another device


def test_pinned_versions_are_read_from_lines_of_any_spelling(tmp_path):
    path = tmp_path / "constraints.txt"
    path.write_text("# made by make lock\nFoo_Bar.baz==1.2\nray[data]==2.4 ; python_version > '3'\n-e .\nx>=1\n\n")
    assert pinned_versions(path) == {"foo-bar-baz": "1.2", "ray": "2.4"}
