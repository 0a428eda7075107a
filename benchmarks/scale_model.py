"""What a job over many pictures would take on other machines: a simulation, part by part.

python benchmarks/scale_model.py --check                  # beside what was measured
python benchmarks/scale_model.py                          # a million and a billion pictures
python benchmarks/scale_model.py --pictures 1e7 --workers 64 --detect 1.2 --price 0.7

Workers take parts one after the other: read (ahead, by four threads), decode, detect, encode masks
and write the table. One process puts the parts in their place. A worker that is lost does its part
again, after a start. Times that were measured are in MEASURED; whatever else it needs is an
argument with a default that is an assumption.
"""

import argparse
import heapq
import math
import random
from dataclasses import dataclass, replace

# Of one core here, processor time. docs/scale.md says how each was measured.
MEASURED = {
    "around": 0.0013,  # seconds a picture of 24 x 32 beside the detector, with its row
    "decode": 0.014,  # of a JPEG of 1024 x 1024; a PNG takes 0.040
    "mask": 0.0004,  # to encode one of 1024 x 1024, cut to its box
    "row": 0.0029,  # of a table, with 20 instances
    "write": 0.005,  # a part, into its place, flushed to the disk
    "detect": 1.22,  # R50, 512 x 512: 0.61 s on two cores
}
# (what, detector's seconds, pictures, processor seconds a picture that were measured)
POINTS = [
    ("local, no detector", 0.0, 2000, 0.00098),
    ("local, 3 ms", 0.003, 2000, 0.00432),
    ("Ray, one actor, 3 ms", 0.003, 2000, 0.00438),
]


@dataclass(frozen=True)
class Machines:
    """What a job runs on, and what its pictures are like."""

    pictures: int = 1_000_000
    workers: int = 32  # each with a network; of one core, unless `detect` is another's time
    detect: float = MEASURED["detect"]  # seconds a picture, for one worker
    spread: float = 0.3  # standard deviation of that, as its share
    around: float = MEASURED["around"]
    decode: float = MEASURED["decode"]
    instances: int = 20
    mask: float = MEASURED["mask"]
    row: float = MEASURED["row"]
    read: float = 0.05  # seconds until a storage has sent a file; four are asked for at once
    part: int = 100
    write: float = MEASURED["write"]
    start: float = 20.0  # seconds until a worker has its network
    lost_every: float = 48 * 3600.0  # seconds of a worker between two losses; 0: never
    price: float = 0.045  # of a worker, an hour

    @property
    def picture(self) -> float:
        """Seconds of a worker for a picture."""
        own = self.around + self.decode + self.instances * self.mask + self.row
        return max(self.detect + own, self.read / 4)

    @property
    def shares(self) -> dict[str, float]:
        """Where a picture's time goes."""
        parts = {
            "network": self.detect,
            "decode": self.decode,
            "masks": self.instances * self.mask,
            "table": self.around + self.row,
        }
        return {name: seconds / sum(parts.values()) for name, seconds in parts.items()}


@dataclass(frozen=True)
class Came:
    """What a simulated job took."""

    seconds: float
    worker_seconds: float
    lost: int  # workers
    again: float  # pictures that were done twice
    writing: float  # share of the time in which the one process wrote

    @property
    def hours(self) -> float:
        return self.seconds / 3600


def simulate(on: Machines, seed: int = 0) -> Came:
    """One job, from its first worker's start to the last part in its place."""
    rng = random.Random(seed)
    free = [(on.start, worker) for worker in range(on.workers)]  # when, who
    heapq.heapify(free)
    written, writing, lost, again, end = 0.0, 0.0, 0, 0.0, 0.0
    for number in range(math.ceil(on.pictures / on.part)):
        size = min(on.part, on.pictures - number * on.part)
        now, worker = heapq.heappop(free)
        mean = size * on.picture
        seconds = max(rng.gauss(mean, on.spread * on.detect * math.sqrt(size)), 0.2 * mean)
        if on.lost_every:
            while (until := rng.expovariate(1 / on.lost_every)) < seconds:
                lost, again = lost + 1, again + until / on.picture
                now += until + on.start
        now += seconds
        heapq.heappush(free, (now, worker))
        written = max(written, now) + on.write
        writing += on.write
        end = max(end, written)
    return Came(end, end * on.workers, lost, again, writing / end)


def check() -> list[tuple[str, float, float]]:
    """(what, measured, simulated) seconds a picture, with small pictures and no losses."""
    small = Machines(
        workers=1, decode=0, instances=0, row=0, read=0, start=0, lost_every=0, spread=0, write=0
    )
    found = []
    for what, detect, pictures, measured in POINTS:
        came = simulate(replace(small, pictures=pictures, detect=detect))
        found.append((what, measured, came.seconds / pictures))
    return found


def in_line(on: Machines, came: Came) -> str:
    """A row of docs/scale.md."""
    money = came.worker_seconds / 3600 * on.price
    return (
        f"| {on.pictures:,} | {on.workers:,} | {came.hours:,.1f} h | {money:,.0f} | "
        f"{came.lost:,} | {came.again / on.pictures:.2%} | {came.writing:.1%} |"
    )


# (a name, what differs). Prices and the speed of machines that were not here are assumptions.
SCENES = [
    ("16 cores", Machines(workers=16)),
    ("512 cores", Machines(workers=512)),
    ("8 GPUs, 10 pictures/s each", Machines(workers=8, detect=0.1, price=0.53)),
    ("4,096 cores", Machines(10**9, 4096, part=10_000)),
    ("1,024 GPUs, 10 pictures/s each", Machines(10**9, 1024, 0.1, part=10_000, price=0.53)),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--pictures", type=float)
    for name in ("workers", "part", "instances"):
        parser.add_argument(f"--{name}", type=int)
    for name in ("detect", "decode", "read", "start", "price"):
        parser.add_argument(f"--{name}", type=float)
    args = vars(parser.parse_args())
    if args.pop("check"):
        for what, measured, simulated in check():
            print(f"{what:22} measured {measured * 1000:.2f} ms, simulated {simulated * 1000:.2f}")
        return
    given = {name: value for name, value in args.items() if value is not None}
    given |= {"pictures": int(given["pictures"])} if "pictures" in given else {}
    scenes = [("as given", Machines(**given))] if given else SCENES
    for name, on in scenes:
        shares = ", ".join(f"{what} {share:.0%}" for what, share in on.shares.items())
        print(f"{name} ({shares})\n{in_line(on, simulate(on))}")


if __name__ == "__main__":
    main()
