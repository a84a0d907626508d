"""What runs came to, for people and for programs: a terminal, JSON, JUnit, and a page with lane diagrams.

What lives here: printing a `Summary`, and drawing a trace. What must not be known here: how runs are made,
and how verdicts are reached. Names, reasons and notes come from scenarios and traces of anyone, so they are
never trusted: each form cleans or escapes them.

| module | for |
|---|---|
| `terminal` | people at a terminal: a table, or one line per scenario for thousands of runs |
| `json_report` | programs: the keys that docs/schemas/attack-report.schema.json publishes |
| `junit` | CI systems |
| `html` | one page that opens without a network, with a lane diagram of each run whose trace is there |

Behind the page, in the order in which a trace passes through them: `frames` joins events to messages and
finds those that contradict one another, `selection` chooses what is drawn of a long run, `timeline` gives
times a place, `lanes` lays everything out, `svg` writes it, and `story` tells it without a picture.
"""
