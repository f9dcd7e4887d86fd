"""What the engine costs: flow by Farneback over local processes, against a bare loop; and a run with nothing to do.

    python -m benchmarks.engine [--videos 8] [--frames 769] [--size 256 256] [--rounds 3] [--workers 2]

* the loop: ``cv2.calcOpticalFlowFarneback`` over grey frames in memory, one process and one thread, nothing kept
* as many such loops at once as there are workers: what the machine's cores have to give (threads of one core share it)
* the stage, with one worker and with ``--workers``: reads stored frames, computes, packs, writes, flushes and receipts

They take turns, ``--rounds`` times; medians are printed. Of the stage both rates are given: of the whole run, in which
workers start and import (once per command and stage), and from the first shard that was ready to the last. Beside
them processor time per pair, of all processes and threads, start-up included: on a busy machine the steadier measure. Then
``stpa flows`` over 437 complete videos of 300,000 frames in all, as ``benchmarks/plan_status.py`` fakes them.
"""

import argparse
import os

from benchmarks.machine import machine


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(256, 256), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--videos", type=int, default=8)
    parser.add_argument("--frames", type=int, default=769, help="of each video")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    from benchmarks.engine_runs import print_nothing_to_do, print_overhead

    print(f"{machine()}\n")
    print_nothing_to_do(437, 300_000)
    print()
    print_overhead(arguments)


if __name__ == "__main__":
    main()
