"""From labels and detections to numbers, and to a page that shows them.

detections.py   what a network finds, or a file holds, beside the labels
classes.py      which class of the weights is which of the data
coco.py         COCO's average precision, by pycocotools
coco_files.py   annotation and results files
ap.py           Matterport's AP, of one picture
matching.py     which detection is which label; what a threshold gives
metrics.py      every number in one dict
report.py       the page, with report_pictures, report_style, report_text and charts
"""
