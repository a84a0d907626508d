"""What cannot be made as asked."""


class SetupError(ValueError):
    """A network that cannot be made as asked. One line that says why, and what can be done."""
