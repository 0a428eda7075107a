"""What was asked for and can't be done, or isn't wanted any more."""

import sys  # and nothing that takes time: what comes before `plain_interrupts` isn't covered by it


class UsageError(ValueError):
    """A sentence for a person: what can't be done, why, and what to do instead.

    A command prints it and ends with exit code 2.
    """


def plain_interrupts(name: str) -> None:
    """From here on a Ctrl-C that nobody catches is one line, and no traceback.

    name: of the program, which the line begins with.
    """
    hook = sys.excepthook

    def tell(kind: type[BaseException], *rest: object) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print(f"\n{name}: interrupted.", file=sys.stderr)
        else:
            hook(kind, *rest)

    sys.excepthook = tell
