"""One HTML file with the tables and figures of studies, which needs nothing else."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from artquant_plugin import __version__
from artquant_plugin.common.files import atomic_write
from artquant_plugin.common.machine import machine_faults
from artquant_plugin.report.site.page_templates import asset, page_environment, page_style
from artquant_plugin.report.table_cells import Table, cell_text


@dataclass(frozen=True, slots=True)
class StudyView:
    """What the page shows of a study.

    Args:
        name: the word by which the command line knows the study; it names a place of the page.
        title: one line about what it measures.
        claim: what the paper says, as a whole sentence.
        sentence: whether that holds on the data, as measured.
        tables: the tables, in the order of the page.
        figure: the PNG file of the figure.
    """

    name: str
    title: str
    claim: str
    sentence: str
    tables: Sequence[Table]
    figure: Path


def write_studies_page(path: Path, studies: Sequence[StudyView]) -> None:
    """Write the page of studies.

    Args:
        path: the HTML file, which is replaced in one step.
        studies: the studies, in the order of the page.

    Raises:
        MachineError: this machine does not let a figure be read or the page be written.
    """
    with machine_faults(f"'{path}' cannot be written"):
        figures = [base64.b64encode(study.figure.read_bytes()).decode() for study in studies]
        page = (
            page_environment()
            .get_template("studies.html.j2")
            .render(
                studies=list(zip(studies, figures, strict=True)),
                styles=[page_style(), asset("studies.css")],
                cell_text=cell_text,
                version=__version__,
            )
        )
        with atomic_write(path, "wb") as file:
            file.write(page.encode("utf-8", "replace"))
