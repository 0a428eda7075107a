"""A page and an HTTP interface around one model: somebody's bytes in, instances out.

    bytes     guard      may they come in, and are there places free?
              incoming   the body, whole and not too large; then a picture
    picture   worker     waits for its turn; the one thread that runs the model takes what waits
                         and has one size together
    found     answers    COCO's JSON; labels: files for labelling tools
              label_studio   what Label Studio wants instead

A model is an object with `detect(pictures) -> results` and `class_names`, nothing else. `service`
and `app` know FastAPI and `running` uvicorn; the others do without.
"""
