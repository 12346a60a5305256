"""Write with a model: ``jeoni.generate``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from jeoni.base import runtime
from jeoni.models import hub
from jeoni.models.lines import Prompt, Written
from jeoni.models.model import Model
from jeoni.models.sampling import Settings
from jeoni.serving.predictor import task_of
from jeoni.serving.words import listed
from jeoni.tasks.text_to_text import TextToText


def generate(
    model: str | Path | Model,
    prompts: str | Sequence[Prompt],
    *,
    device: str = "auto",
    precision: str = "auto",
    family: str | None = None,
    **settings: Any,
) -> list[Written]:
    """Go on from a prompt, or from each of several; an encoder-decoder reads it and answers.

    A model that was trained for text-to-text reads a text as it did there: in its template, if that has
    one place, and with its separator behind.

    Args:
        model: anything ``jeoni.load`` takes, or a loaded model.
        prompts: texts, or lists of token ids that are used as they are.
        device: ``auto``, ``cpu``, ``cuda``.
        precision: of the weights: ``bf16``, ``fp32``, ``auto`` for what pays on the device; a loaded
            model keeps its own.
        family: the model's family, where it is your own: ``package.module:NAME``.
        settings: ``max_new``, ``temperature``, ``top_k``, ``top_p``, ``repetition_penalty``, ``beams``,
            ``length_penalty``, ``early_stopping``, ``stop``, ``seed`` (see
            ``jeoni.models.sampling.Settings``). Without any, the likeliest tokens are written, and by a
            model that was trained for text-to-text what it would have written there.

    Returns:
        What was written for each prompt: ``text`` without the prompt, ``ids``, ``reason`` that it ended.
        It depends on no other prompt. (``Model.stream`` gives it piece by piece.)

    Raises:
        UserError: no such setting, a value that makes no sense, a model that does not write, or a prompt
            without tokens or with more than the model has positions.
    """
    Settings.of(**settings)  # a mistake there is found before anything is loaded
    texts = listed(prompts, "prompts")
    loaded = writer(model, device=device, precision=precision, family=family)
    return loaded.generate(asked(loaded, texts), **{**habits(loaded, settings), **settings})


def asked(model: Model, prompts: Sequence[Prompt]) -> list[Prompt]:
    """The prompts as the model was trained to read them; lists of ids as they are."""
    if model.settings.get("task") != "text_to_text":
        return list(prompts)
    task = task_of(model, "text_to_text", {})
    assert isinstance(task, TextToText)
    texts = [prompt for prompt in prompts if isinstance(prompt, str)]
    read = iter(task.prompts(texts) if texts else [])
    return [next(read) if isinstance(prompt, str) else prompt for prompt in prompts]


def habits(model: Model, settings: Mapping[str, Any]) -> dict[str, Any]:
    """How a model that was trained for text-to-text wrote there: how much, and with how many beams.

    Args:
        model: the model.
        settings: what is asked for; if it draws, there are no beams.
    """
    known = model.settings
    if known.get("task") != "text_to_text":
        return {}
    own = {"max_new": "max_target", "beams": "beams", "length_penalty": "length_penalty"}
    if Settings.of(**settings).draws:
        del own["beams"]
    return {name: known[key] for name, key in own.items() if key in known}


def writer(
    model: str | Path | Model,
    *,
    device: str = "auto",
    precision: str = "auto",
    family: str | None = None,
) -> Model:
    """The model where and as it is to write; arguments as for ``generate``."""
    on = runtime.device(device)
    if isinstance(model, Model):
        return model.to(on)
    loaded = hub.load(model, family=family).to(on)
    bf16 = runtime.precision(precision, on) == "bf16"
    return loaded.to(torch.bfloat16) if bf16 else loaded
