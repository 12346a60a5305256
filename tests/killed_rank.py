"""The command line, of which one process is killed before an optimizer step, if it was not started again.

python tests/killed_rank.py STEP RANK pretrain ...
"""

import os
import signal
import sys
from typing import Any


def main() -> None:
    """Change the loop, then be ``jeoni``."""
    step, rank = int(sys.argv.pop(1)), sys.argv.pop(1)
    from jeoni.cli.main import run
    from jeoni.training import loop

    update = loop._Run.update
    mine = os.environ.get("RANK") == rank and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"

    def dying(self: loop._Run, **options: Any) -> tuple[bool, bool]:
        if mine and self.result.steps == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return update(self, **options)

    loop._Run.update = dying  # type: ignore[method-assign]
    run()


if __name__ == "__main__":
    main()
