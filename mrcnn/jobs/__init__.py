"""A job: detection in more pictures than one wants to begin anew when something ends it.

sources.parquet   the list of pictures, sorted; it is made once, and each row group is a slice of it
job.json          what the job is: weights, config, classes, versions
parts/            a Parquet file for each slice, named by it: one that is there is done
errors.parquet    the pictures that failed, and why; made at the end
_SUCCESS          made last: all parts are there

A row of a part is a picture: path, height, width, boxes [n, (y1, x1, y2, x2)], class_ids [n],
scores [n], masks [n] (the counts of COCO's compressed RLE) and error, null where it went well.

    listing -> folder -> work (by local or on_ray) -> folder -> show, convert
"""
