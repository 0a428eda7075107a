"""A trained network as a file for other runtimes, proven to find the same things.

    graph.py      the network of one picture, in operations that every runtime has
    pieces.py     its proposals, crops and suppression, written for that
    resizing.py   a picture of any size made the network's, inside the graph
    formats.py    written as SavedModel, OpenVINO, ONNX, TFLite
    proof.py      the file beside the Keras model, instance by instance
    int8.py       the file with eight bits, and what that costs
    export.py     all of it in a row; `exporting.py` has it as methods of MaskRCNN

What stands beside a file is `mrcnn.detect.card`, and what runs it `mrcnn.detect.exported`.

Shapes in this room (N: DETECTION_MAX_INSTANCES, R: proposals, A: anchors)
    picture     uint8 [1, height, width, channels], one picture as a person has it
    boxes       float32 [N, (y1, x1, y2, x2)], pixels of that picture, not rounded
    class_ids   int32 [N]
    scores      float32 [N]
    masks       float32 [N, mask_height, mask_width] of 0..1, each for its box
    count       int32 [1]: how many of the N rows are instances; the rest are zeros
"""
