"""What was asked for and can't be done."""


class UsageError(ValueError):
    """A sentence for a person: what can't be done, why, and what to do instead.

    A command prints it and ends with exit code 2.
    """
