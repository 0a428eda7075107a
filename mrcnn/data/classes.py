"""Which classes a labelled set really has, and whether two sets mean the same ones.

count_labels(dataset)                   # Counter({"cell": 349})
used_classes([train, val])              # {"cell"}, though the files list "mitosis" too
disagreement(count_labels(train), count_labels(val))    # a sentence, where they don't agree
"""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from mrcnn.data.pictures import PictureError
from mrcnn.words import counted, listed

if TYPE_CHECKING:
    from mrcnn.data.view import Labelled

MOST_READ = 50  # pictures whose masks are read, where only they tell the classes


def used_classes(datasets: Iterable["Labelled"], crowds: bool = False) -> set[str] | None:
    """Names of the classes that have an instance; None where only the masks tell.

    crowds: whether an instance that is a crowd counts.
    """
    used: set[str] = set()
    for dataset in datasets:
        for image_id in dataset.image_ids:
            class_ids = dataset.listed_class_ids(int(image_id))
            if class_ids is None:
                return None
            class_ids = np.abs(class_ids) if crowds else class_ids[class_ids > 0]
            used |= {dataset.class_names[i] for i in np.unique(class_ids) if i}
    return used


def count_labels(dataset: "Labelled") -> Counter[str]:
    """{class name: instances} without crowds; of a sample of pictures where only masks tell."""
    from mrcnn.data.formats import FormatError

    counts: Counter[str] = Counter()
    ids = dataset.image_ids
    sample = {int(i) for i in ids[:: max(1, -(-len(ids) // MOST_READ))]}
    for image_id in map(int, ids):
        class_ids = dataset.listed_class_ids(image_id)
        if class_ids is None and image_id in sample:
            try:
                _, class_ids = dataset.load_mask(image_id)
            except (FormatError, PictureError):  # whoever checks the set tells it
                continue
        if class_ids is not None:
            counts.update(dataset.class_names[i] for i in class_ids[class_ids > 0].tolist())
    return counts


def disagreement(ours: Counter[str], theirs: Counter[str], class_name: str) -> str | None:
    """What is wrong where most labels for validation are of classes that training doesn't have.

    ours, theirs: `count_labels` of the training and the validation data. class_name: what the
    readers called a class that the files don't name.
    Returns a sentence with its cure, or None.
    """
    strange = {name: count for name, count in theirs.items() if name not in ours}
    if not ours or 2 * sum(strange.values()) <= theirs.total():
        return None
    return (
        f"Most labels of the validation data, {sum(strange.values()):,} of {theirs.total():,}, are "
        f"of classes that the training data have none of: {listed(strange)}. Training has "
        f"{listed(ours)}. {_cure(set(ours), set(strange), class_name)}"
    )


def unnamed_cure(named: Iterable[str], class_name: str) -> str:
    """What to do where one set names its classes and the other doesn't."""
    named = sorted(named)
    if len(named) == 1:
        return f"If {class_name} stands for it, add --class-name {shell_word(named[0])}."
    return f"If {class_name} stands for one of them, add --class-name with its name."


def shell_word(name: str) -> str:
    """A name as a shell takes it."""
    import shlex

    return shlex.quote(name)


def _cure(ours: set[str], strange: set[str], class_name: str) -> str:
    if strange == {class_name}:
        return unnamed_cure(ours, class_name)
    if ours == {class_name}:
        return unnamed_cure(strange, class_name)
    return "Call the same things by the same names in both."


def only_in(counts: Counter[str], others: Counter[str]) -> str:
    """The classes that have labels in one set and none in another, in words; "" for none."""
    strange = {name: number for name, number in counts.items() if name not in others}
    return ", ".join(f"{name} ({counted(number, 'label')})" for name, number in strange.items())
