"""Writing the report: a folder with a page, pictures and tables per dataset, complete or not at all."""

import json
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import jinja2

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import atomic_files
from artquant_plugin.report.analysis import Analysis
from artquant_plugin.report.board_tables import tables
from artquant_plugin.report.site.overview import table_one
from artquant_plugin.report.site.page_pictures import write_pictures
from artquant_plugin.report.site.page_scripts import board_script, cases, text_scripts
from artquant_plugin.report.site.view import board_view, made_with, unpictured
from artquant_plugin.report.table_formats import ENDINGS, FORMATS

INDEX, RECORD = "index.html", "report.json"
FORM_VERSION = 1
ASSETS = ("page.css", "tables.js", "charts.js", "paintings.js")


def build_site(
    out: Path, analyses: Sequence[Analysis], *, title: str, seed: int = 0, workers: int | None = None
) -> list[str]:
    """Write the report.

    Args:
        out: the folder to write. It is made when absent; a report in it is replaced, and its pictures are used again.
        analyses: the figures of the boards, one per dataset.
        title: the title of the pages.
        seed: the seed of the bootstrap, which the pages name.
        workers: number of processes that make pictures, at least 1; None for one per core.

    Returns:
        Lines of text about what was written; the last one is the path of the first page.

    Raises:
        ArtQuantError: `out` is a file, holds anything but a report, or cannot be written.
    """
    before = _files_of_page(out)
    slugs = _slugs([analysis.board.dataset for analysis in analyses])
    lines: list[str] = []
    with atomic_files(out, last=INDEX, replaced=before) as part:
        for analysis, slug in zip(analyses, slugs, strict=True):
            board = analysis.board
            pictures, failed = write_pictures(board.images, cases(analysis), out / "pictures" / slug, workers=workers)
            (part / "data").mkdir(exist_ok=True)
            (part / "data" / f"{slug}.js").write_text(board_script(analysis, slug, pictures), encoding="utf-8")
            for number, script in enumerate(text_scripts(analysis)):
                (part / "data" / f"{slug}-{number}.js").write_text(script, encoding="utf-8")
            (part / "tables").mkdir(exist_ok=True)
            for table in tables(analysis):
                for form, ending in ENDINGS.items():
                    name = f"{_slug(table.name)}.{ending}"
                    (part / "tables" / name).write_text(FORMATS[form](table) + "\n", encoding="utf-8")
            lines.append(_line(analysis, len(pictures), failed))
        _render(part, analyses, slugs, title, seed)
        (part / "assets").mkdir()
        for name in ASSETS:
            text = files("artquant_plugin.report.site").joinpath("assets", name).read_text(encoding="utf-8")
            (part / "assets" / name).write_text(text, encoding="utf-8")
        written = sorted(path.relative_to(part).as_posix() for path in part.rglob("*") if path.is_file())
        record = {"form_version": FORM_VERSION, "files": [*written, RECORD]}
        (part / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return [*lines, str(out / INDEX)]


def _files_of_page(out: Path) -> list[str]:
    """The files of an earlier report in the folder, which are replaced; an error where other files are in it."""
    if not out.exists():
        return []
    if not out.is_dir():
        raise ArtQuantError(f"'{out}' is a file; name a folder for --out")
    record = out / RECORD
    if record.is_file():
        try:
            names = json.loads(record.read_text(encoding="utf-8"))["files"]
            # A record could have been changed; no path may lead out of the folder, whose files are removed.
            return [name for name in names if re.fullmatch(r"(?:(?:data|tables|assets)/)?\w[\w.-]*", name)]
        except (ValueError, KeyError, TypeError):
            pass
    # An interrupted first run leaves pictures behind and no record.
    others = sorted(
        path.name for path in out.iterdir() if path.name != "pictures" and not path.name.startswith(".part-")
    )
    if others:
        raise ArtQuantError(f"'{out}' holds other things ('{others[0]}'); name a new folder for --out")
    return []


def _render(part: Path, analyses: Sequence[Analysis], slugs: Sequence[str], title: str, seed: int) -> None:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("artquant_plugin.report.site", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shared = {"title": title, "boards": list(zip([a.board.dataset for a in analyses], slugs, strict=True))}
    index = environment.get_template("index.html.j2")
    views = [board_view(analysis, slug) for analysis, slug in zip(analyses, slugs, strict=True)]
    overview = table_one(list(zip(analyses, slugs, strict=True)))
    text = index.render(**shared, views=views, overview=overview, made_with=made_with(seed))
    (part / INDEX).write_text(text, encoding="utf-8")
    page = environment.get_template("board.html.j2")
    for analysis, view in zip(analyses, views, strict=True):
        names = [(table.title, _slug(table.name)) for table in tables(analysis)]
        text = page.render(**shared, view=view, tables=names, endings=ENDINGS, made_with=made_with(seed))
        (part / f"{view['slug']}.html").write_text(text, encoding="utf-8")


def _line(analysis: Analysis, pictures: int, failed: Sequence[str]) -> str:
    board = analysis.board
    counts = (len(board.models), "model"), (len(board.ids), "painting"), (pictures, "picture")
    line = f"{board.dataset}: " + ", ".join(f"{n:,} {what}{'' if n == 1 else 's'}" for n, what in counts)
    if not board.images:
        return f"{line}: {unpictured(board)}"
    if failed:
        line += f"; {len(failed):,} could not be read, such as {failed[0]!r}"
    return line


def _slugs(names: Sequence[str]) -> list[str]:
    """A file name for each dataset, with a number where two would be the same or one would be that of the index."""
    slugs: list[str] = []
    for name in names:
        slug = base = _slug(name)
        number = 2
        while slug in slugs or slug == "index":
            slug, number = f"{base}-{number}", number + 1
        slugs.append(slug)
    return slugs


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "dataset"
