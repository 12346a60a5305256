"""No family goes untested: what ``transformers`` does not have has a test file of its own."""

import ast
from pathlib import Path

import pytest
import transformers

import peers

REQUIRED = {
    "test_states",
    "test_gradients",
    "test_packed_equals_one_by_one",
    "test_config_keeps_every_field_of_the_spec",
    "test_saved_and_loaded",
    "test_mistakes_are_told",
}
"""What the contract of ``test_families.py`` comes to without a peer."""


def test_every_family_is_under_one_contract_or_the_other() -> None:
    assert not peers.families().keys() & peers.peerless().keys()
    assert {"bert", "xlnet"} <= peers.families().keys()


@pytest.mark.parametrize("family", peers.peerless())
def test_peerless_families_have_tests_of_their_own(family: str) -> None:
    assert family.replace("_", "-") not in transformers.CONFIG_MAPPING, "it has a peer after all"
    file = Path(__file__).with_name(peers.peerless()[family])
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert not REQUIRED - found
