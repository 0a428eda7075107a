"""From labelled pictures to weights: plan, feed, step, log, save.

plan.py         data, weights and wishes become a Config, before TensorFlow is there
choices.py      what is chosen by the data where nobody says otherwise
feed.py         batches on their way into the network
keras_model.py  the step: losses, gradients, weight decay
optimiser.py    which layers train, and how fast
fit.py          one call of `train()`
callbacks.py    what happens between batches and epochs
checkpoints.py  run folders, checkpoints, and the state of an exact resumption
history.py      a row an epoch, and the curves
stopping.py     Ctrl-C and its kin
"""
