"""What a user of the command line did that can't be done."""


class UsageError(Exception):
    """A sentence for the terminal; the command ends with exit code 2."""
