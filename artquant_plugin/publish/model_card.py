"""The model card: metadata that the Hub reads, and text that tells people how to use the checkpoint."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from artquant_plugin.checkpoint import ScoringSpec
from artquant_plugin.common.drawing import png_bytes
from artquant_plugin.common.hub import split_revision
from artquant_plugin.data.find import PUBLISHED
from artquant_plugin.data.hub_rad import is_published_name
from artquant_plugin.publish.hub_errors import Target
from artquant_plugin.publish.scoring_code import IMAGE_NAME
from artquant_plugin.publish.task_results import METRICS, TaskResult, result_counts
from artquant_plugin.report.results_table import ResultRow, results_table
from artquant_plugin.report.scatter import scatter_figure
from artquant_plugin.report.table_formats import as_markdown

PLOT_FILE = "scatter.png"
TAGS = ("lmms-eval", "image-aesthetics", "artquant")
PACKAGE = "artquant-plugin"
_TERMS = {
    "apdd": "APDDv2: CC BY-NC-ND 4.0 (its second license file: CC BY 4.0 for non-commercial use)",
    "baid": "BAID: CC BY-NC-ND 4.0",
    "vaps": "VAPS: research use; its original files are gated",
}


@dataclass(frozen=True, slots=True)
class License:
    """A license as the Hub names it.

    Args:
        id: an id from the Hub's list of licenses, such as ``apache-2.0``, or ``other``.
        name: the name of a license whose id is ``other``; None otherwise.
        link: the address of the text of a license whose id is ``other``; None where none was given.
    """

    id: str
    name: str | None = None
    link: str | None = None


@dataclass(frozen=True, slots=True)
class ModelCardFields:
    """Everything that a model card tells.

    Args:
        target: the repository that the card is for.
        base: id of the base model on the Hub; None where there is none.
        base_revision: commit or tag of the base model; None where `base` is.
        is_adapter: whether the repository holds an adapter, which cannot be loaded without its base.
        license: the license of the checkpoint.
        spec: the content of the checkpoint's scoring file.
        training: the record of the training, without paths of this machine; None where there is no record.
        results: the results of the evaluation, one per task; empty where nothing was evaluated.
        code: Python code that scores an image with the checkpoint.
        is_known: whether `transformers` has the architecture, so that `code` does not need this package.
    """

    target: Target
    base: str | None
    base_revision: str | None
    is_adapter: bool
    license: License
    spec: ScoringSpec
    training: dict[str, Any] | None
    results: tuple[TaskResult, ...]
    code: str
    is_known: bool


def model_card(fields: ModelCardFields) -> str:
    """The text of README.md: the metadata in YAML, then the sections in Markdown."""
    from huggingface_hub import ModelCard, ModelCardData

    data = ModelCardData(
        base_model=fields.base,
        datasets=_datasets(fields),
        license=fields.license.id,
        license_name=fields.license.name,
        license_link=fields.license.link,
        library_name="peft" if fields.is_adapter else "transformers",
        pipeline_tag="image-text-to-text",
        tags=list(TAGS),
        model_name=fields.target.name.partition("/")[2],
        eval_results=_eval_results(fields.results) or None,
    )
    return str(ModelCard.from_template(data, template_str=_TEMPLATE, **_template_values(fields)))


def progress_card(target: Target, base: str | None, state: str) -> str:
    """The text of README.md for a checkpoint of a training that still runs.

    Args:
        target: the repository that the card is for.
        base: id of the base model on the Hub; None where there is none.
        state: which checkpoint of the training it is, such as ``sot, step 200``.
    """
    from huggingface_hub import ModelCardData

    data = ModelCardData(base_model=base, tags=list(TAGS))
    name = target.name.partition("/")[2]
    return (
        f"---\n{data}\n---\n\n# {name}\n\n"
        f"Checkpoints of a training as they are written, without evaluation; this one: {state}.\n\n"
        f"    artquant score IMAGES --model {target.name}\n\n"
        f"`artquant publish model FOLDER --repo {target.name}` puts the whole card in the place of this one.\n"
    )


def scatter(results: Sequence[TaskResult]) -> bytes:
    """The scatter plot of the result with the most scored paintings, as the bytes of a PNG file.

    Args:
        results: the results to choose from, at least one.
    """
    largest = max(results, key=lambda result: result.agreement.n)
    run = largest.run
    return png_bytes(scatter_figure(run.predictions, run.truths, title=run.task, agreement=largest.agreement))


def _datasets(fields: ModelCardFields) -> list[str] | None:
    """The training data by names that others know: published datasets and repositories of the Hub; None for none."""
    if fields.training is None:
        return None
    names = [name for name in fields.training.get("data", {}) if name in PUBLISHED]
    given = [str(item["name"]) for item in fields.training["config"]["data"]]
    repositories = [split_revision(name.partition(":")[0])[0] for name in given if is_published_name(name)]
    return list(dict.fromkeys([*names, *repositories])) or None


def _eval_results(results: Sequence[TaskResult]) -> list[Any]:
    """The metrics of all results in the form of the Hub's metadata; metrics without a finite value are left out."""
    from huggingface_hub import EvalResult

    found = []
    for result in results:
        for name in METRICS:
            metric = getattr(result.agreement, name)
            if not math.isfinite(metric.value):  # there is no correlation when all predictions are the same
                continue
            found.append(
                EvalResult(
                    task_type="image-aesthetics",
                    task_name="Prediction of mean human scores",
                    dataset_type=result.run.task,
                    dataset_name=result.run.task.upper() if result.run.task in PUBLISHED else result.run.task,
                    dataset_split="test",
                    metric_type=name,
                    metric_name=f"{name.upper()} (n = {result.agreement.n:,})",
                    metric_value=metric.value,
                    metric_args={"interval_95": [metric.low, metric.high], **result_counts(result)},
                )
            )
    return found


def _template_values(fields: ModelCardFields) -> dict[str, Any]:
    """The values of the variables in `_TEMPLATE`, by the names of the variables."""
    rows = [
        ResultRow(
            r.run.task,
            fields.target.name,
            r.run.failures,
            r.run.missing,
            r.agreement,
            r.agreement_at_median,
            r.run.prompt,
        )
        for r in fields.results
    ]
    limited = [f"{r.run.task} (--limit {r.limit:g})" for r in fields.results if r.limit is not None]
    names = [] if fields.training is None else list(fields.training.get("data", {}))
    base = fields.base and f"[{fields.base}](https://huggingface.co/{fields.base})"
    low, high = min(fields.spec.scale.values), max(fields.spec.scale.values)
    return {
        "name": fields.target.name.partition("/")[2],
        "repo": fields.target.name,
        "base": base and (f"{base} at `{fields.base_revision}`" if fields.base_revision else base),
        "is_adapter": fields.is_adapter,
        "is_known": fields.is_known,
        "package": PACKAGE,
        "image": IMAGE_NAME,
        "code": fields.code,
        "as_shown": fields.spec.images == "as_shown",
        "low": f"{low:g}",
        "high": f"{high:g}",
        "levels": ", ".join(
            f"{_escaped(name)} {value:g}"
            for name, value in zip(fields.spec.scale.names, fields.spec.scale.values, strict=True)
        ),
        "question": _escaped(fields.spec.prompt.question),
        "prefix": _escaped(fields.spec.prompt.answer_prefix),
        "results": as_markdown(results_table(rows)) if rows else None,
        "measured": [_escaped(_measured(result)) for result in fields.results],
        "limited": _escaped(", ".join(limited)),
        "plot": PLOT_FILE if rows else None,
        "trained_on": _escaped(", ".join(names)) or None,
        # RAD describes the paintings of another dataset, and has that dataset's scores and terms.
        "terms": [
            _TERMS[name] for name in dict.fromkeys(name.removeprefix("rad-") for name in names) if name in _TERMS
        ],
        "recipe": [(name, _escaped(value)) for name, value in _recipe(fields.training)],
    }


def _escaped(value: str) -> str:
    r"""A text that shows as it is within a line or a table cell of Markdown, whatever it holds.

    Example:
        >>> _escaped("a <b>\n| [c](d) `e`")
        'a \\<b> \\| \\[c](d) \\`e\\`'
    """
    return re.sub(r"([\\`<|\[])", r"\\\1", " ".join(value.split()))


def _measured(result: TaskResult) -> str:
    """Which weights a result was measured on, and when."""
    checkpoint = result.run.checkpoint or {}
    revision = checkpoint.get("revision")
    where = f"{checkpoint['name']} at commit {revision}" if revision else "the checkpoint before it was published"
    return f"{result.run.task}: {where}, weights {str(checkpoint.get('weights'))[:16]}, {result.run.date[:8]}"


def _batch(record: dict[str, Any]) -> str:
    """The samples of an optimisation step, and how processes shared them where the record says so."""
    train = record["config"]["train"]
    size, made_from = train["per_device_train_batch_size"], record.get("made_from", {})
    if "global_batch" in made_from:
        processes = made_from["processes"]
        noun = "process" if processes == 1 else "processes"
        return f"{made_from['global_batch']} in a step, {size} at once in each of {processes} {noun}"
    return f"{size} x {train['gradient_accumulation_steps']} per process"


def _recipe(record: dict[str, Any] | None) -> list[tuple[str, str]]:
    """The rows of the table on the training: names and values; none where there is no record."""
    if record is None:
        return []
    config = record["config"]
    train, loss, levels = config["train"], config["loss"], config["levels"]
    parts = {part: section["method"] for part, section in config["trained"].items() if "method" in section}
    counts = record.get("trained", {})
    trained = ", ".join(
        f"{part} {method}" + (f" ({counts[part]['trained']:,} of {counts[part]['all']:,})" if part in counts else "")
        for part, method in parts.items()
    )
    lora = config["trained"]["lora"]
    adapted = f"{lora['targets']}, rank {lora['rank']}, alpha {lora['alpha']}, dropout {lora['dropout']:g}"
    stages = "; ".join(
        f"{stage['name']}: {' + '.join(stage['samples'])}, {stage['epochs']:g} epochs" for stage in config["stages"]
    )
    rows = [
        ("data", ", ".join(f"{item['name']} (weight {item['weight']:g})" for item in config["data"])),
        ("trained weights", trained),
        *([("LoRA", adapted)] if "lora" in parts.values() else []),
        ("stages", stages),
        ("loss", f"k {loss['k']:g}, k_asl {loss['k_asl']:g}, softmax over {loss['softmax']}"),
        ("soft labels", levels["method"]),
        ("learning rate", f"{train['learning_rate']:g}, {train['lr_scheduler_type']}"),
        ("batch", _batch(record)),
        ("seed", str(config["seed"])),
        ("versions", ", ".join(f"{name} {version}" for name, version in record.get("versions", {}).items())),
    ]
    return [row for row in rows if row[1]]


# A paragraph or list item is one line of the rendered text: the Hub would show a line break as one.
_TEMPLATE = """---
{{ card_data }}
---

# {{ name }}

Scores how beautiful people find a painting, from {{ low }} to {{ high }}: a vision-language model whose score is \
the expectation over the probabilities of level words ({{ levels }}).
{% if base %}
{{ "An adapter of" if is_adapter else "Trained from" }} {{ base }}.
{% endif %}
## Score an image
{% if is_known %}
With `transformers`{{ " and `peft`" if is_adapter else "" }} alone:
{% else %}
`transformers` does not know this architecture; the package {{ package }} brings it:
{% endif %}
```python
{{ code }}
```
{% if is_known and as_shown %}
The code turns an image upright as its EXIF orientation says. Put an image with transparency on a white background \
first, as {{ package }} does.
{% endif %}
In batches, over folders and archives, and in [lmms-eval](https://github.com/EvolvingLMMs-Lab/lmms-eval), with \
{{ package }}:

    artquant score IMAGES --model {{ repo }}
    lmms-eval --model artquant --model_args pretrained={{ repo }} --tasks artquant --log_samples --output_path results

`artquant.json` has what a score depends on besides weights and processor: the question "{{ question }}", the \
beginning of the answer "{{ prefix }}", the levels and their values, and how image files are opened.

## Results
{% if results %}
{{ results }}

Intervals are 95 % bootstrap intervals over images; failed and missing paintings have no part in them.\
{% if limited %} Not the whole split: {{ limited }}.{% endif %}

{% for line in measured %}- {{ line }}
{% endfor %}
![Predicted against human scores]({{ plot }})
{% else %}
None was published with these weights.
{% endif %}
## Training
{% if recipe %}
| | |
|---|---|
{% for key, value in recipe %}| {{ key }} | {{ value }} |
{% endfor %}
The whole configuration is in `config.train.yaml`, the record of the run in `training.json`.
{% else %}
No record of a training is part of this repository.
{% endif %}
## Use and limits

- Meant for research on how people judge art.
- A score is relative to the people who rated the training data\
{% if trained_on %} ({{ trained_on }}){% endif %}: their taste, culture and time. It is no measure of a work's worth, \
and not meant for decisions about artists.
- Scores of different scales, models or prompts cannot be compared.
{% for term in terms %}- Terms of the data, which forbid commercial use: {{ term }}.
{% endfor %}"""
