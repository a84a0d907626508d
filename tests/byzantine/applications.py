"""Applications as users write them: one that is right, and others that each break one rule."""

import time

from ledger.application import Invalid, canonical_json


class Names:
    """Keeps a list of names; the payload is one."""

    def __init__(self, parameters):
        self.greeting = parameters.get("greeting", "")

    def check(self, payload):
        if not payload.isalpha():
            raise Invalid("a name has letters")

    def execute(self, context, payload, state):
        names = [*(state.get(b"names") or b"").split(), payload]
        state.put(b"names", b" ".join(names))
        return canonical_json(self.greeting + self.said(context, names))

    def said(self, context, names):
        return f"{len(names)}"

    def query(self, question, state):
        return canonical_json((state.get(b"names") or b"").decode())


class Clocked(Names):
    """Looks at the machine's clock."""

    def said(self, context, names):
        return f"{time.perf_counter_ns()}"


class Remembering(Names):
    """Keeps something beside the state."""

    def __init__(self, parameters):
        super().__init__(parameters)
        self.count = 0

    def said(self, context, names):
        self.count += 1
        return f"{self.count}"


class Picky(Names):
    """Knows nobody."""

    def said(self, context, names):
        return {}[names[-1]]


class Unordered(Names):
    """Shows the order of a set."""

    def said(self, context, names):
        return " ".join({f"{name.decode()}{number}" for name in names for number in range(8)})


class LocalTime(Names):
    """Shows the block's time as it is where the machine stands."""

    def said(self, context, names):
        return time.strftime("%H", time.localtime(context.time // 1000))
