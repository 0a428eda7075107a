"""What is done with a built network: inference, evaluation, training."""
