"""What a job has come to: counts, rates and failures.

told = look_at("found")
print("\\n".join(in_lines(told)))
"""

import os
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from mrcnn.data.sources import Source
from mrcnn.jobs import folder as folders
from mrcnn.jobs import tables
from mrcnn.words import counted, duration, listed, printable

_SHOWN = 10  # reasons that are written out


@dataclass
class State:
    """A job at some moment."""

    folder: Path
    pictures: int  # of the whole job
    done: int = 0  # pictures that have a row
    failed: int = 0
    instances: Counter[str] = field(default_factory=Counter)  # by class
    reasons: Counter[str] = field(default_factory=Counter)  # why, without the pictures' names
    firsts: dict[str, str] = field(default_factory=dict)  # by these, the first one with the name
    runs: int = 0
    parts: tuple[int, int] = (0, 0)  # that are done, of how many
    rate: float | None = None  # pictures a second in the last run
    finished: bool = False


def look_at(folder: str | os.PathLike) -> State:
    """What is in the folder of a job, which may be going on. Raises UsageError."""
    told, path = folders.read_job(folder), Path(folder)
    state = State(path, told["pictures"], runs=len(told["runs"]))
    parts, names = folders.parts(path), told["class_names"]
    state.parts = len(parts), folders.num_parts(told)
    for part in parts:
        pictures, failed, counts = tables.summary(part)
        state.done += pictures
        state.failed += failed
        for class_id, count in sorted(counts.items()):
            state.instances[names[class_id] if class_id < len(names) else str(class_id)] += count
    for row in tables.failures(parts):
        why = _kind(row["path"], row["error"])
        state.reasons[why] += 1
        state.firsts.setdefault(why, row["error"])
    state.rate = _rate(told, parts)
    state.finished = (path / folders.SUCCESS).exists()
    return state


def _kind(path: str, reason: str) -> str:
    for name in (str(Source(Path(path), path)), printable(path)):
        reason = reason.replace(name, "..")
    return reason


def _rate(told: dict, parts: list[Path]) -> float | None:
    """Pictures a second in the last run, from when its parts were written."""
    began = datetime.fromisoformat(told["runs"][-1]["began"]).timestamp()
    times = sorted(part.stat().st_mtime for part in parts)
    own = [time for time in times if time >= began]
    # From the first part to the last: what the start took is not the pictures' time.
    if len(own) < 2 or own[-1] <= own[0]:
        return None
    return float((len(own) - 1) * told["part_size"] / (own[-1] - own[0]))


def in_lines(state: State) -> list[str]:
    """The state of a job for a person."""
    done, count = state.parts
    lines = [
        f"{printable(state.folder)}: {state.done:,} of {counted(state.pictures, 'picture')}, "
        f"{done:,} of {counted(count, 'part')}, {'finished' if state.finished else 'not finished'}"
        f", {counted(state.runs, 'run')}"
    ]
    found = [f"{number:,} {printable(name)}" for name, number in state.instances.most_common()]
    lines.append(f"found     {listed(found) or 'nothing'}")
    if state.rate:
        left = (state.pictures - state.done) / state.rate
        more = f", {duration(left)} left" if state.done < state.pictures else ""
        lines.append(f"rate      {state.rate:,.2f} pictures a second in the last run{more}")
    lines.append(f"failed    {counted(state.failed, 'picture')}")
    for why, count in state.reasons.most_common(_SHOWN):
        lines.append(f"  {state.firsts[why]}" + (f" ({count:,} times such)" if count > 1 else ""))
    if len(state.reasons) < state.failed and state.finished:
        lines.append(f"  all of them: {folders.ERRORS}")
    return lines
