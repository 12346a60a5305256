"""Static vectors are no model of ``transformers`` (see ``peers.peerless``)."""

PEERLESS = "test_static.py"
