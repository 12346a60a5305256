"""The command line on a slow disk, so that a kill can hit the writing of a checkpoint.

python tests/slow_disk.py SECONDS finetune ...
"""

import os
import sys
import time


def main() -> None:
    """Make every fsync so much slower, then be ``jeoni``."""
    seconds, sync = float(sys.argv.pop(1)), os.fsync

    def slow(descriptor: int) -> None:
        time.sleep(seconds)
        sync(descriptor)

    os.fsync = slow
    from jeoni.cli.main import run

    run()


if __name__ == "__main__":
    main()
