"""Which figures are percent, and which fractions (or numbers of another kind)."""

_PERCENT = ("span_qa", "text_to_text")
_NEVER = ("accuracy", "loss")


def in_percent(task: str, metric: str) -> bool:
    """Whether a figure is percent, as the official scorers of answers and texts have it.

    Args:
        task: name of the task type.
        metric: of the figure, as evaluation calls it.
    """
    return task in _PERCENT and metric not in _NEVER
