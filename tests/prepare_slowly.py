"""A preparation with many small parts, for tests that interrupt it.

python prepare_slowly.py OUT TOKENIZER FILE WORKERS
"""

import sys
import time
from pathlib import Path

from jeoni.data.prepare import making, sources
from jeoni.data.prepare.pipeline import prepare
from jeoni.data.prepare.settings import PrepareConfig
from jeoni.training.signals import Interrupted


def main() -> None:
    out, tokenizer, file, workers = sys.argv[1:]
    sources.PORTION = 500
    portions = sources.portions

    def slowly(*arguments: object) -> object:
        for portion in portions(*arguments):  # type: ignore[arg-type]
            time.sleep(0.01)
            yield portion

    making.sources.portions = slowly  # type: ignore[assignment]
    config = PrepareConfig(inputs=(file,), tokenizer=tokenizer, held_out=0.2, duplicates="exact")
    try:
        prepare(config, Path(out), workers=int(workers))
    except Interrupted as stopped:
        print(stopped)
        sys.exit(130)


if __name__ == "__main__":
    main()
