"""ELMo is not in ``transformers``, nor in any other library that still runs (see ``peers.peerless``)."""

PEERLESS = "test_elmo.py"
