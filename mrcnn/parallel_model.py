"""What scripts of old imported to spread a batch over several GPUs."""

import warnings

import keras


class ParallelModel:
    """`ParallelModel(keras_model, gpu_count)` gives back the model itself.

    The original built a copy of the graph for each GPU. A `MaskRCNN` for training does that by
    itself now, with `tf.distribute.MirroredStrategy`, where its config has a GPU_COUNT above 1.
    """

    def __new__(cls, keras_model: keras.Model, gpu_count: int) -> keras.Model:
        if gpu_count > 1:
            warnings.warn(
                f"ParallelModel(gpu_count={gpu_count}) runs the whole batch on one device, with "
                "the same results. For several, set GPU_COUNT in the config: MaskRCNN then trains "
                "by tf.distribute.MirroredStrategy.",
                stacklevel=2,
            )
        return keras_model
