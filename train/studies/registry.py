"""All studies, in the order in which `artquant study all` shows them. A further study joins as one more entry."""

from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.common.text import did_you_mean, listed
from artquant_plugin.train.studies.ablations import HIERARCHY, LABELS, MAT
from artquant_plugin.train.studies.curves import GENERATION, SUFFICIENCY
from artquant_plugin.train.studies.entropy import ENTROPY
from artquant_plugin.train.studies.outcome import Study
from artquant_plugin.train.studies.transfer import TRANSFER

STUDIES = {study.name: study for study in (HIERARCHY, MAT, LABELS, SUFFICIENCY, GENERATION, ENTROPY, TRANSFER)}
ALL = "all"


def chosen_studies(name: str) -> list[Study]:
    """The studies of a name.

    Args:
        name: Name of a study, or ``all``.

    Raises:
        ArtQuantError: There is no such study; the nearest name is told.
    """
    if name == ALL:
        return list(STUDIES.values())
    if name not in STUDIES:
        known = [*STUDIES, ALL]
        remedy = did_you_mean(name, known) or f"take one of {listed(known, len(known))}"
        raise ArtQuantError(f"there is no study {name!r}; {remedy}")
    return [STUDIES[name]]
