"""The harness within this process."""

from typing import Any


def evaluate(model: str, model_args: str, tasks: list[str], **options: Any) -> dict[str, Any]:
    """`simple_evaluate` on our tasks alone, on the CPU."""
    import lmms_eval.models  # noqa: F401  # loads the entry points
    from lmms_eval.evaluator import simple_evaluate
    from lmms_eval.tasks import TaskManager

    manager = TaskManager(include_defaults=False)
    return simple_evaluate(model, model_args, tasks=tasks, device="cpu", task_manager=manager, **options)
