"""What TensorFlow says while it works."""

import numpy as np
import tensorflow as tf

import mrcnn.model  # noqa: F401  (it quiets TensorFlow)


def test_a_new_graph_is_not_priced_aloud(capfd):
    """Grappler can't price crop_and_resize where the number of boxes is open, and said so."""

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32)])
    def crops(boxes):
        image = tf.reduce_sum(boxes) + tf.ones([1, 8, 8, 3])
        return tf.image.crop_and_resize(
            image, boxes, tf.zeros(tf.shape(boxes)[0], tf.int32), [2, 2]
        )

    assert crops(np.ones([3, 4], np.float32)).shape == (3, 2, 2, 3)
    assert "PredictCost" not in capfd.readouterr().err
