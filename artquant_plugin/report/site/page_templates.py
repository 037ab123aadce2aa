"""The templates and styles that all HTML pages of this folder share."""

from importlib.resources import files

import jinja2


def page_environment() -> jinja2.Environment:
    """The environment that renders the pages' templates.

    Everything is escaped, since names and texts come from anywhere; a name that a template does not get is an error.
    """
    return jinja2.Environment(
        loader=jinja2.PackageLoader("artquant_plugin.report.site", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def asset(name: str) -> str:
    """The text of a style sheet or a script.

    Args:
        name: the name of a file in the folder ``assets``.
    """
    return files("artquant_plugin.report.site").joinpath("assets", name).read_text(encoding="utf-8")
