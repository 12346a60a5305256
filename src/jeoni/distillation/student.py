"""Student models that start from some of a teacher's layers."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import fields, replace

import torch
from torch import Tensor, nn

from jeoni.base.errors import UserError
from jeoni.models import hub
from jeoni.models.family import Family
from jeoni.models.model import Model
from jeoni.models.spec import ArchSpec

COMMON = ("masked_lm", "language_model", "span")
"""Heads that are the same in every family that has them."""


def shrink(
    teacher: Model,
    *,
    layers: Sequence[int],
    decoder_layers: Sequence[int] | None = None,
    family: str | None = None,
) -> Model:
    """A model with some of the teacher's layers, and the teacher's embeddings, heads and tokenizer.

    DistilBERT began as every other layer of BERT (Sanh et al., 2019, section 3):
    ``shrink(bert, layers=[0, 2, 4, 7, 9, 11], family="distilbert")``. Nothing of the student shares
    memory with the teacher.

    Args:
        teacher: stays as it is.
        layers: which, from 0, in the student's order; of the encoder, or of the only stack.
        decoder_layers: of the decoder, if there is one; None: all.
        family: another family for the student, of which every weight must be one of the teacher's
            (DistilBERT for a BERT: the segment table is left out). It gets no classification head, whose
            style is each family's.

    Raises:
        UserError: no layer, one that the teacher does not have, layers that share a block with others,
            or a family that has other weights than the teacher.
    """
    spec = teacher.spec
    decoder = range(spec.decoder_layers) if decoder_layers is None else decoder_layers
    _check("layers", layers, spec.layers)
    if spec.decoder_layers or decoder:
        _check("decoder_layers", decoder, spec.decoder_layers)
    if spec.blocks not in (None, 1, spec.layers):
        raise UserError("the teacher's layers share blocks in groups; none can be taken out")
    own = hub.own_family(family) if family else teacher.family
    same = own.name == teacher.family.name
    student_spec = _spec(spec, own, layers, len(decoder), same=same)
    student = Model(
        family=own,
        spec=student_spec,
        backbone=own.build(student_spec),
        tokenizer=teacher._tokenizer,
        spare=teacher.spare if same else None,
        config=teacher.config if same else None,
        settings=teacher.settings,
        labels=teacher.labels,
    )
    blocks = [0] if spec.blocks == 1 else layers
    chosen = _chosen(teacher.backbone.state_dict(keep_vars=True), blocks, decoder)
    _copy(student.backbone, chosen)
    drawn = {id(tensor) for name, tensor in teacher.named_parameters() if name in teacher.fresh}
    names = [name for name, _ in student.backbone.named_parameters()]
    student.fresh = {f"backbone.{name}" for name in names if id(chosen[name]) in drawn}
    for kind, head in teacher.heads.items():
        if same or (kind in COMMON and kind in own.heads):
            student.heads[kind] = deepcopy(head)
            student.fresh |= {n for n in teacher.fresh if n.startswith(f"heads.{kind}.")}
    return student.train(teacher.training)


def _check(name: str, layers: Sequence[int], count: int) -> None:
    if not layers:
        raise UserError(f"{name}: a student needs a layer")
    if wrong := [i for i in layers if not 0 <= i < count]:
        there = f"layers 0 to {count - 1}" if count else "none"
        raise UserError(f"{name}: the teacher has {there}, not {wrong}")


def _spec(
    spec: ArchSpec, family: Family, layers: Sequence[int], decoder_layers: int, *, same: bool
) -> ArchSpec:
    """The teacher's spec with fewer layers, as the family has it."""
    windows = tuple(spec.windows[i % len(spec.windows)] for i in layers) if spec.windows else ()
    blocks = 1 if spec.distinct == 1 else None
    changed = replace(
        spec, layers=len(layers), blocks=blocks, decoder_layers=decoder_layers, windows=windows
    )
    if same:
        return changed
    known = {entry.name: getattr(changed, entry.name) for entry in fields(ArchSpec)}
    return family.spec(**{**known, **family.fixed})


def _chosen(
    state: Mapping[str, Tensor], layers: Sequence[int], decoder: Sequence[int]
) -> dict[str, Tensor]:
    """The teacher's tensors under the names that they have in the student."""
    result = {}
    for name, tensor in state.items():
        front, blocks, rest = name.partition(".blocks.")
        if not blocks:
            result[name] = tensor
            continue
        number, end = rest.split(".", 1)
        for new, old in enumerate(decoder if front.startswith("decoder") else layers):
            if old == int(number):
                result[f"{front}.blocks.{new}.{end}"] = tensor
    return result


def _copy(backbone: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    own = backbone.state_dict(keep_vars=True)
    wrong = [n for n, t in own.items() if n not in tensors or tensors[n].shape != t.shape]
    if wrong:
        raise UserError(
            f"the teacher has no such weights for the student: {', '.join(sorted(wrong)[:5])}",
            hint="is the student's family made of parts of the teacher's?",
        )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
