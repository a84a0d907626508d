"""The page as a file: whole by itself, safe with any name, and honest about what it does not show."""

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from importlib.resources import files

import pytest

from byzantine.reports import html
from byzantine.reports.frames import FAMILIES
from byzantine.trace import Event, What
from byzantine.verdicts import Finding
from tests.byzantine.reports.traces import (
    FAIL,
    INCONCLUSIVE,
    crash,
    equivocation,
    fork,
    long,
    make_failure,
    make_result,
    make_summary,
    quiet,
)

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>\x1b'
NAMESPACE = "http://www.w3.org/2000/svg"


def page(result, events, *others) -> str:
    return html.render(make_summary(result, *others), [html.Run(result, tuple(events))])


class Elements(HTMLParser):
    """All elements of a page with their attributes, and the text outside of script and style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.text += data

    def of(self, kind: str) -> list[dict]:
        """Attributes of the elements that have the class `kind`."""
        return [attributes for _, attributes in self.found if kind in (attributes.get("class") or "").split()]


@pytest.mark.parametrize(
    ("n", "make"),
    [(4, quiet), (4, equivocation), (4, fork), (7, crash)],
    ids=["quiet", "equivocation", "fork", "crash"],
)
def test_the_page_loads_nothing(n, make):
    text = page(make_result(n=n), make())
    assert set(re.findall(r"https?://[^\"'\s<)]*", text)) <= {NAMESPACE}
    assert not re.search(r"@import|url\(|<iframe|<object|<embed|fetch\(|XMLHttpRequest|WebSocket", text)
    for tag, attributes in Elements(text).found:
        assert "src" not in attributes
        if "href" in attributes:
            assert attributes["href"].startswith("#") or (tag, attributes["href"]) == ("link", "data:,")


def test_nothing_but_the_pages_own_style_and_script_may_run():
    text = page(make_result(), quiet())
    policy = next(found["content"] for _, found in Elements(text).found if "http-equiv" in found)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = b64encode(sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_no_element_has_an_inline_style_or_handler_which_the_policy_would_stop():
    for _, attributes in Elements(page(make_result(n=7), crash())).found:
        assert not [name for name in attributes if name == "style" or name.startswith("on")]


def test_names_reasons_and_notes_of_anyone_stay_text():
    events = [
        Event(1, What.SENT, EVIL, "0", 1, EVIL, digest=EVIL, note=EVIL),
        Event(2, What.SENT, "0", "1", 2, "prepare", 0, 1, EVIL, EVIL, EVIL),
        Event(2, What.LIED, "0", kind=EVIL, note=EVIL),
        Event(3, What.FAULT, "network", note=EVIL),
        Event(3, What.EVIDENCE, "1", target=EVIL, kind=EVIL),
        Event(4, What.EXECUTED, "1", sequence=1, digest=EVIL),
        Event(4, What.SUBMITTED, EVIL, digest=EVIL),
        Event(5, What.FAILED, EVIL, kind=EVIL, note=EVIL),
    ]
    result = make_result(EVIL, fired={EVIL: 1}, runner=EVIL, findings=(Finding(EVIL, FAIL, EVIL),))
    found = Elements(page(result, events)).found
    harmless = Elements(page(make_result("name"), quiet())).found
    assert {tag for tag, _ in found} <= {tag for tag, _ in harmless} | {"strong"}
    assert sum(tag == "script" for tag, _ in found) == 1
    assert "\x1b" not in page(result, events)


def test_contradictions_are_marked_and_named():
    text = page(make_result(liars=(0,)), equivocation())
    assert in_diagram(text, "conflict") == 3
    said = "member 0 signed 2 pre-prepares for view 0, slot 2: A aaaa0002, B bbbb0002"
    assert said in Elements(text).text
    honest = page(make_result(), quiet())
    assert in_diagram(honest, "conflict") == 0
    assert "Contradictions" not in honest


def number(text: str) -> int:
    return int(text.replace(",", ""))


def in_diagram(text: str, kind: str) -> int:
    """How many groups of a class the diagram itself has, the legend aside."""
    (diagram,) = re.findall(r'<svg [^>]*class="lanes".*?</svg>', text, re.DOTALL)
    return len(re.findall(rf'<g class="[^"]*\b{kind}\b[^"]*"', diagram))


def test_every_message_and_turn_of_a_short_run_is_in_the_diagram():
    events = crash()
    text = page(make_result(n=7), events)
    assert in_diagram(text, "m") == sum(event.what is What.SENT for event in events)
    assert in_diagram(text, "lost") == sum(event.what in (What.LOST, What.CUT) for event in events)
    assert in_diagram(text, "executed") == sum(event.what is What.EXECUTED for event in events)
    assert (in_diagram(text, "crashed"), in_diagram(text, "restarted"), in_diagram(text, "healed")) == (
        1,
        1,
        1,
    )


def test_lies_proofs_and_forks_are_in_the_diagram():
    text = page(make_failure(), fork())
    assert in_diagram(text, "lie") == 8
    assert in_diagram(text, "evidence") == 2
    assert in_diagram(text, "fork") == 2
    assert in_diagram(text, "failed") == 1


def test_a_liars_lane_says_so():
    found = Elements(page(make_result(), equivocation()))
    assert len([one for one in found.of("liar") if "head" in one["class"]]) == 1
    assert "liar" in found.text


def test_what_is_left_out_is_said_with_its_numbers():
    whole = page(make_failure(), long(300))
    said = r"Of ([\d,]+) messages, ([\d,]+) are left out of the picture \((.*?)\)"
    ((total, missing, kinds),) = re.findall(said, Elements(whole).text)
    assert number(total) - number(missing) == in_diagram(whole, "m")
    assert sum(map(number, re.findall(r"([\d,]*\d) ", kinds))) == number(missing)


def test_a_short_run_claims_no_omission():
    assert "left out" not in Elements(page(make_result(), quiet())).text


def test_status_is_hidden_at_first_and_every_kind_can_be():
    found = Elements(page(make_result(), quiet()))
    assert [attributes["data-hide"] for tag, attributes in found.found if tag == "figure"] == ["status"]
    boxes = {one["data-kind"]: "checked" in one for _, one in found.found if "data-kind" in one}
    assert boxes["status"] is False
    assert boxes["prepare"] is True
    style = files("byzantine.reports").joinpath("assets", "page.css").read_text()
    for family in FAMILIES:
        assert re.search(rf'\[data-hide~="{family.key}"\][^,{{]*\.m\.k-{family.key}\b', style)
        assert f".k-{family.key} {{ --kind:" in style


def test_what_did_not_pass_is_explained_with_the_command_that_repeats_it():
    text = Elements(html.render(make_summary(make_failure("two-faced", n=7)))).text
    assert "agreement: replicas 2 and 3 stored different blocks" in text
    assert "tetrarch attack run two-faced --replicas 7 --seed 7" in text


def test_a_member_that_is_blamed_and_never_lied_stands_out():
    text = Elements(html.render(make_summary(make_result(blamed=(1, 2), liars=(1,))))).text
    assert "replicas 1 and 2 (honest: replica 2)" in text


def test_a_run_without_a_trace_says_so():
    assert "No trace of this run was kept" in page(make_result(), ())


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ([make_result()], "The run passed"),
        ([make_result(), make_result(seed=8)], "All 2 runs passed"),
        ([make_result(), make_failure()], "1 of 2 runs failed"),
        (
            [make_result(findings=(Finding("liveness", INCONCLUSIVE),))],
            "The run was inconclusive, which is no pass",
        ),
        ([], "Nothing ran, which is no pass"),
    ],
)
def test_the_heading_is_the_verdict(results, said):
    text = html.render(make_summary(*results))
    assert re.findall(r"<h1[^>]*>(.*?)</h1>", text) == [said]


def test_a_campaign_is_a_row_per_scenario():
    results = [make_result(name, seed=seed) for name in ("mute", "flood") for seed in range(1000)]
    text = html.render(make_summary(*results))
    assert text.count("<tr>") == 3
    assert "1,000" in text


def test_a_long_story_drops_the_blocks_and_says_how_much_is_missing():
    text = Elements(page(make_failure(), long(300))).text
    assert "entered view 1" in text
    assert "integrity failed at slot 295: executed twice" in text
    assert "of these lines are left out here" in text


def test_runs_on_one_page_can_be_told_apart_and_are_linked():
    results = [make_result("one"), make_result("two")]
    text = html.render(make_summary(*results), [html.Run(result, tuple(quiet())) for result in results])
    links = {found["href"] for tag, found in Elements(text).found if tag == "a"}
    ids = [found["id"] for _, found in Elements(text).found if "id" in found]
    assert links == {"#run-0", "#run-1"}
    assert ids == ["run-0", "run-1"]
