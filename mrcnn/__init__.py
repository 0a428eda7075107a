"""Mask R-CNN for TensorFlow 2 and Keras 3, in the Matterport style.

Importing this package loads nothing heavy: TensorFlow arrives with `mrcnn.model`.
"""

__version__ = "3.0.0a1"
