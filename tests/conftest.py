"""What holds for every test. Knows none of the packages."""

from hypothesis import settings

# How long an example takes says something of the machine's load, not of the rule that is tested.
settings.register_profile("tetrarch", deadline=None, print_blob=True)
settings.load_profile("tetrarch")
