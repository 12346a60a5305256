"""config.json of every family with odd values, each in every place: taken, or named; nothing else."""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest

from jeoni.base import lookup
from jeoni.base.errors import UserError
from jeoni.models import hub
from jeoni.models.config_file import read_spec, written

ODD = ["x", "", None, -1, 0, 1.5, True, float("nan"), 10**13, [], [1], ["x"], [[1]], {}, {"a": 1}]


PRESETS = {n: list(hub.own_family(n).presets.values()) for n in lookup.names(hub.FAMILIES)}


def places(value: Any, *path: Any) -> Iterator[tuple[Any, ...]]:
    """The way to every entry of nested dictionaries and lists."""
    inner: dict[Any, Any] = value if isinstance(value, dict) else {}
    if isinstance(value, list):
        inner = dict(enumerate(value[:2]))
    for key in inner:
        yield (*path, key)
        yield from places(inner[key], *path, key)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name, specs in PRESETS.items() if specs])
def test_odd_values(name: str) -> None:
    family, spec = hub.own_family(name), PRESETS[name][0]
    config = json.loads(json.dumps(written(family, spec))) | {"architectures": ["X"]}
    assert read_spec(family, config, "config.json") == spec
    refused: list[str] = []
    for *path, last in places(config):
        for value in ODD:
            changed = deepcopy(config)
            inner = changed
            for key in path:
                inner = inner[key]
            inner[last] = value
            try:
                read_spec(family, changed, "config.json")
            except UserError as error:
                refused.append(str(error))
    assert len(refused) > 3 * len(ODD)
    assert all(message.startswith("config.json: ") for message in refused)


@pytest.mark.parametrize(("key", "inner"), [("lstm", "dim"), ("char_cnn", "filters")])
def test_what_elmo_s_options_lack_is_named_as_there(key: str, inner: str) -> None:
    family = hub.own_family("elmo")
    config = deepcopy(written(family, family.presets["elmo-small"]))
    del config[key][inner]
    with pytest.raises(UserError, match=rf"{key}\.{inner}"):
        read_spec(family, config, "options.json")
