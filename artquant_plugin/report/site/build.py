"""Writes the report: a folder with a page, pictures and tables per dataset. At no moment is a page half written."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.files import atomic_write, names_file, remove_leftovers
from artquant_plugin.common.run_record import only_writer
from artquant_plugin.report.analysis import Analysis
from artquant_plugin.report.board_tables import tables
from artquant_plugin.report.site.overview import table_one
from artquant_plugin.report.site.page_pictures import Picture, remove_other_pictures, write_pictures
from artquant_plugin.report.site.page_scripts import board_script, cases, text_scripts
from artquant_plugin.report.site.page_templates import asset, page_environment
from artquant_plugin.report.site.view import board_view, made_with, unpictured
from artquant_plugin.report.table_formats import ENDINGS, FORMATS, Table

INDEX, RECORD = "index.html", "report.json"
LOCK = ".report.lock"  # held by the process that writes the report
TEMPORARY_PREFIX = ".part-"  # begins the name of the folder in which a report is made
PICTURES = "pictures"
BUILD_DIGITS = 12  # digits of the hash in the names of scripts and assets
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
        ArtQuantError: `out` is a file, holds anything but a report, cannot be written, or is being written by another
            process.
    """
    _files_of_page(out)  # refuses a folder of something else before a lock is put there
    with names_file(out), only_writer(out / LOCK, out):
        before = _files_of_page(out)
        remove_leftovers(out / RECORD)
        for leftover in out.glob(f"{TEMPORARY_PREFIX}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=out, prefix=TEMPORARY_PREFIX) as temporary:
            part = Path(temporary)
            lines, pictures = _write_parts(out, part, analyses, title=title, seed=seed, workers=workers)
            _put_in_place(out, part, before)
        for slug, shown in pictures.items():
            remove_other_pictures(out / PICTURES / slug, shown)
        for folder in (out / PICTURES).iterdir():
            if folder.name not in pictures:
                shutil.rmtree(folder, ignore_errors=True)
    return [*lines, str(out / INDEX)]


def _write_parts(
    out: Path, part: Path, analyses: Sequence[Analysis], *, title: str, seed: int, workers: int | None
) -> tuple[list[str], dict[str, list[Picture]]]:
    """Write the pictures to the report's folder, and everything else to a temporary one.

    Returns:
        Lines of text about what was written, and the pictures of each board by the name of its page.
    """
    slugs = _slugs([analysis.board.dataset for analysis in analyses])
    lines: list[str] = []
    shown: dict[str, list[Picture]] = {}
    scripts: dict[str, tuple[str, list[str]]] = {}
    tables_of: dict[str, list[Table]] = {}
    for analysis, slug in zip(analyses, slugs, strict=True):
        board, folder = analysis.board, out / PICTURES / slug
        pictures, failed = write_pictures(board.images, cases(analysis), folder, workers=workers)
        shown[slug] = list(pictures.values())
        scripts[slug] = board_script(analysis, slug, pictures), list(text_scripts(analysis))
        tables_of[slug] = [
            replace(table, name=table.name.removesuffix(board.dataset) + slug) for table in tables(analysis)
        ]
        for table in tables_of[slug]:
            for form, ending in ENDINGS.items():
                _write(part / "tables" / f"{table.name}.{ending}", FORMATS[form](table) + "\n")
        lines.append(_summary_line(analysis, len(pictures), failed))
    assets = {name: asset(name) for name in ASSETS}
    # The names of scripts hold a hash of their content. So a page always finds the scripts that it was made with, also
    # while the page that replaces it is being written, or after the process that was writing that page was killed.
    build = hashlib.sha256(repr((scripts, assets)).encode("utf-8", "replace")).hexdigest()[:BUILD_DIGITS]
    for slug, (numbers, texts) in scripts.items():
        _write(part / "data" / f"{slug}-{build}.js", numbers)
        for number, script in enumerate(texts):
            _write(part / "data" / f"{slug}-{build}-{number}.js", script)
    for name, text in assets.items():
        _write(part / "assets" / f"{build}-{name}", text)
    _render(part, analyses, slugs, tables_of, title=title, seed=seed, build=build)
    return lines, shown


def _put_in_place(out: Path, part: Path, before: Sequence[str]) -> None:
    """Move the files of a new report to their places, in an order in which every page is whole at every moment.

    First the record of files is written, with the old files and the new ones, so that a later build removes both if
    this one is killed. Then come the files that pages load, then the pages, and the index last.
    """
    written = [path.relative_to(part).as_posix() for path in part.rglob("*") if path.is_file()]
    _write_record(out, {*before, *written})
    for name in sorted(written, key=lambda name: (name == INDEX, "/" not in name, name)):
        (out / name).parent.mkdir(exist_ok=True)
        os.replace(part / name, out / name)
    for name in before:
        if name not in written and name != RECORD:
            (out / name).unlink(missing_ok=True)
    _write_record(out, written)


def _write_record(out: Path, names: Iterable[str]) -> None:
    with atomic_write(out / RECORD) as file:
        file.write(json.dumps({"form_version": FORM_VERSION, "files": sorted({*names, RECORD})}, indent=1) + "\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode("utf-8", "replace"))  # JSON can hold half of a surrogate pair, which UTF-8 cannot


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
            # Somebody may have changed the record. Its files get removed, so that none may lie outside the folder.
            return [name for name in names if re.fullmatch(r"(?:(?:data|tables|assets)/)?\w[\w.-]*", str(name))]
        except (ValueError, KeyError, TypeError):
            pass
    # An interrupted first run leaves pictures and temporary files behind, and no record.
    own = (TEMPORARY_PREFIX, f".{RECORD}.")
    others = sorted(
        path.name for path in out.iterdir() if path.name not in (PICTURES, LOCK) and not path.name.startswith(own)
    )
    if others:
        raise ArtQuantError(f"'{out}' holds other things ('{others[0]}'); name a new folder for --out")
    return []


def _render(
    part: Path,
    analyses: Sequence[Analysis],
    slugs: Sequence[str],
    tables_of: Mapping[str, Sequence[Table]],
    *,
    title: str,
    seed: int,
    build: str,
) -> None:
    environment = page_environment()
    boards = list(zip([analysis.board.dataset for analysis in analyses], slugs, strict=True))
    shared = {"title": title, "boards": boards, "build": build, "made_with": made_with(seed)}
    index = environment.get_template("index.html.j2")
    views = [board_view(analysis, slug) for analysis, slug in zip(analyses, slugs, strict=True)]
    overview = table_one(list(zip(analyses, slugs, strict=True)))
    _write(part / INDEX, index.render(**shared, views=views, overview=overview))
    page = environment.get_template("board.html.j2")
    for view in views:
        names = [(table.title, table.name) for table in tables_of[view["slug"]]]
        _write(part / f"{view['slug']}.html", page.render(**shared, view=view, tables=names, endings=ENDINGS))


def _summary_line(analysis: Analysis, pictures: int, failed: Sequence[str]) -> str:
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
