"""How ALBERT's specs differ: its layers share one block unless a test says otherwise."""

from dataclasses import replace

from jeoni.models.family import Family
from jeoni.models.spec import ArchSpec


def fit(spec: ArchSpec, family: Family) -> ArchSpec:
    groups = spec.blocks or 1
    blocks = None if groups == spec.layers else groups  # as it is read from config.json
    return replace(spec, **family.fixed, blocks=blocks, causal=False)
