"""What devices that share a batch tell each other, so that it counts as one batch.

`tf.distribute` runs the network once on each device (a replica), with its part of the pictures.
On one device, nothing here adds an operation to the graph.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def mean_over_replicas(values: Any) -> Any:
    """The mean of each tensor over the devices; as they are, where there is one."""
    context = _several()
    return values if context is None else context.all_reduce(tf.distribute.ReduceOp.MEAN, values)


def rows_of_batch(make: Callable[[tf.Tensor], tf.Tensor], shape: tf.Tensor) -> tf.Tensor:
    """This device's rows of what `make` makes for the pictures of all devices.

    shape: [pictures here, ...]. Random numbers are then those that one device would draw.
    """
    context = _several()
    if context is None:
        return make(shape)
    here, count = context.replica_id_in_sync_group, context.num_replicas_in_sync
    sizes = tf.one_hot(here, count) * tf.cast(shape[0], tf.float32)
    sizes = tf.cast(context.all_reduce(tf.distribute.ReduceOp.SUM, sizes), tf.int32)
    first = tf.reduce_sum(sizes[:here])
    whole = make(tf.concat([[tf.reduce_sum(sizes)], shape[1:]], axis=0))
    return whole[first : first + shape[0]]


def _several() -> tf.distribute.ReplicaContext | None:
    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None
