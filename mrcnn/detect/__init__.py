"""From pictures to instances: check, mold, forward, unmold.

    check.py      are these pictures of the kind that the network knows?
    mold.py       resized, padded, centred; batches of one size
    forward.py    the traced network, with the anchors of each size
    unmold.py     boxes and masks in the frame of the picture as it was given
    instances.py  what comes out
    saved.py      one picture's instances as a file
    results.py    those of many pictures on disk, complete at any moment
    files.py      from picture files to result files
    configs.py    the Config and the class names that belong to a weight file
    exported.py   the same with a file that was exported, and card.py, what stands beside it
    runtimes.py   what runs such files; engines.py keeps those that are made for speed
    inside.py     any tensor of the graph on the way

Shapes in this room
    images            a list of [height, width, channels], any sizes, 0..255
    molded_images     [batch, height, width, channels] float, mean subtracted
    image_metas       [batch, 12 + num_classes]
    windows           [batch, (y1, x1, y2, x2)], pixels of the molded picture without its padding
    anchors           [batch, num_anchors, (y1, x1, y2, x2)], normalised
    detections        [batch, max_instances, (y1, x1, y2, x2, class_id, score)], normalised
    mrcnn_mask        [batch, max_instances, mask_height, mask_width, num_classes]
"""
