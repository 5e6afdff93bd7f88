"""The life-cycle map: what it makes of a history, and that drawing and list say the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.dashboard.lifecycle import WIDTH, Box, Deed, Drawing, State, Story, draw, steps
from receiver.dashboard.lifecycle_maps import MAPS, REGISTERED_KIT, REGISTRABLE_KIT, Map, map_of
from receiver.dashboard.rendering import make_environment
from workers.core.history import Event, History
from workers.core.order import Facts, Order
from workers.core.status import CATALOGUE, Method, Status, Window, entry, names_of

START = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def an_order(method: Method, *names: str) -> Order:
    """One that takes these steps, an hour each."""
    events = [
        Event(number, START + number * HOUR, Status(f"{_level(method, name)}.{method}.{name}"))
        for number, name in enumerate(names)
    ]
    return Order("order-1", Facts(START, START, frozenset({method.value})), History.of(events))


def _level(method: Method, name: str) -> str:
    known = entry(method, name)
    return known.levels[0] if known else "collecting_sample"


def a_story(method: Method, *names: str, deeds: tuple[Deed, ...] = (), line: str = "") -> Story:
    return Story(an_order(method, *names), START + len(names) * HOUR, deeds=deeds, line=line)


def drawn(story: Story) -> Drawing:
    found = draw(story)
    assert found is not None
    return found


def box(drawing: Drawing, name: str) -> Box:
    return next(box for box in drawing.boxes if box.place.name == name)


def svg_of(story: Story) -> ElementTree.Element:
    """As it stands in the page, parsed: so it is well-formed, too."""
    template = make_environment().from_string(
        '{% import "lifecycle.html" as l %}<div>{{ l.drawing(map, id) }}{{ l.steps(steps, now) }}</div>'
    )
    html = template.render(map=drawn(story), id=story.order.id, steps=steps(story), now=story.now)
    return ElementTree.fromstring(html)


@pytest.mark.parametrize("map_", MAPS, ids=lambda map_: map_.title)
def test_every_status_of_the_catalogue_has_a_place_or_is_of_the_other_kit(map_: Map) -> None:
    known = {name for method, name in CATALOGUE if method is map_.method}
    of_other_kits = {"awaiting_registration", "registered"} if map_ is REGISTERED_KIT else set()
    assert known - set(map_.places) == of_other_kits
    assert set(map_.places) <= known


@pytest.mark.parametrize("map_", MAPS, ids=lambda map_: map_.title)
def test_every_way_leads_from_a_place_to_a_place(map_: Map) -> None:
    ends = {name for way in map_.ways | map_.side_ways for name in way}
    assert ends <= set(map_.places)
    assert all(map_.documents(way) for way in pairwise(map_.path))


@pytest.mark.parametrize("map_", MAPS, ids=lambda map_: map_.title)
def test_the_line_stands_where_our_window_ends(map_: Map) -> None:
    """What is left of it may be cancelled without opting in; nothing to its right, the ends apart."""
    for place in map_.places.values():
        known = entry(map_.method, place.name)
        assert known is not None
        if place.small:
            continue
        free = known.window in {Window.OPEN, Window.UNTIL_SHIPPED}
        after_delivery = map_ is REGISTRABLE_KIT and place.name.startswith("requisition")
        assert (place.column <= map_.cut) == (free and not after_delivery), place.name


@pytest.mark.parametrize("map_", MAPS, ids=lambda map_: map_.title)
def test_no_line_runs_through_a_box(map_: Map) -> None:
    drawing = drawn(Story(an_order(map_.method, map_.path[0]), START))
    for strand in drawing.strands:
        for x, y in along(strand.line):
            through = [
                one for one in drawing.boxes if 1 < x - one.x < WIDTH - 1 and 1 < y - one.y < one.height - 1
            ]
            assert not through, strand.line


def along(path: str) -> Iterator[tuple[float, float]]:
    """Points on a drawn line, a few pixels apart; its corners unrounded."""
    for part in path.split("M")[1:]:
        numbers = [float(number) for number in re.findall(r"-?[0-9.]+", part)]
        corners = list(zip(numbers[::2], numbers[1::2], strict=True))
        for (x1, y1), (x2, y2) in pairwise(corners):
            pieces = int(abs(x2 - x1) + abs(y2 - y1)) // 4 + 1
            for piece in range(pieces + 1):
                yield x1 + (x2 - x1) * piece / pieces, y1 + (y2 - y1) * piece / pieces


def test_a_kit_that_awaits_registration_is_drawn_on_the_map_with_the_way_back() -> None:
    order = an_order(Method.TESTKIT, "ordered", "awaiting_registration")
    assert map_of(Method.TESTKIT, order.history) is REGISTRABLE_KIT
    assert ("with_customer", "registered") in REGISTRABLE_KIT.ways


def test_places_say_been_there_there_now_ahead_and_out_of_reach() -> None:
    drawing = drawn(a_story(Method.TESTKIT, "ordered", "requisition_created", "transit_customer"))
    assert box(drawing, "requisition_created").state is State.VISITED
    assert box(drawing, "transit_customer").state is State.CURRENT
    assert box(drawing, "completed").state is State.REACHABLE
    assert box(drawing, "cancelled").state is State.GONE


def test_a_documented_status_that_was_never_seen_is_skipped() -> None:
    drawing = drawn(a_story(Method.TESTKIT, "ordered", "requisition_created", "with_customer"))
    assert box(drawing, "transit_customer").state is State.SKIPPED
    assert box(drawing, "out_for_delivery").state is State.SKIPPED


def test_an_undocumented_step_is_taken_and_marked() -> None:
    story = a_story(Method.TESTKIT, "ordered", "requisition_created", "with_customer")
    strange = [strand for strand in drawn(story).strands if strand.strange]
    assert len(strange) == 1
    assert strange[0].taken
    assert steps(story)[-1].notes == ("no documented way leads here",)


def test_a_loop_is_numbered_in_the_order_it_was_walked() -> None:
    walked = ("appointment_scheduled", "appointment_cancelled") * 2
    drawing = drawn(a_story(Method.WALK_IN, "ordered", "requisition_created", *walked))
    assert sorted(strand.text for strand in drawing.strands if strand.taken) == ["1", "2", "3·5", "4"]
    assert len(box(drawing, "appointment_scheduled").stays) == 2


def test_a_way_without_loops_needs_no_numbers() -> None:
    drawing = drawn(a_story(Method.WALK_IN, "ordered", "requisition_created"))
    assert [strand.text for strand in drawing.strands if strand.taken] == [""]


def test_a_reschedule_is_a_step_of_its_own_and_a_repetition_is_none() -> None:
    booked = ("ordered", "requisition_created", "appointment_scheduled", "appointment_scheduled")
    assert len(a_story(Method.AT_HOME, *booked).stays) == 4
    assert len(a_story(Method.WALK_IN, *booked).stays) == 3


def test_a_status_nobody_knows_gets_a_place_below_at_its_time() -> None:
    story = a_story(Method.AT_HOME, "ordered", "requisition_created", "lab_is_on_strike", "draw_completed")
    drawing = drawn(story)
    (stranger,) = [one for one in drawing.boxes if one.state is State.UNEXPECTED]
    assert stranger.place.label == "lab_is_on_strike"
    assert stranger.y > drawing.bottom
    assert steps(story)[2].notes == ("a status that the map does not know",)


def test_the_line_is_crossed_for_good_once_the_kit_has_left() -> None:
    back = ("ordered", "awaiting_registration", "transit_customer", "with_customer", "registered")
    assert drawn(a_story(Method.TESTKIT, *back)).crossed
    assert not drawn(a_story(Method.TESTKIT, "ordered", "cancelled")).crossed


def test_what_we_did_stands_where_the_order_stood() -> None:
    call = Deed("call", START + 1.5 * HOUR, "cancel order", event=1)
    confirmed = Deed("confirmed", START + 5 * HOUR, "cancel order: confirmed")
    story = a_story(Method.TESTKIT, "ordered", "requisition_created", "cancelled", deeds=(call, confirmed))
    drawing = drawn(story)
    assert [badge.deed for badge in box(drawing, "requisition_created").badges] == [call]
    assert [badge.deed for badge in box(drawing, "cancelled").badges] == [confirmed]
    assert steps(story)[1].deeds == (call,)


def test_the_three_layers_are_told_apart() -> None:
    story = Story(an_order(Method.TESTKIT, "ordered", "registered"), START, answers={"registered": "400"})
    layers = {chip.kind: chip for chip in box(drawn(story), "registered").chips}
    assert layers["documented"].text == "J"
    assert layers["conditional"].title.endswith("only by a rule that includes registered_kits")
    assert layers["answered"].text == "A 400"
    assert [chip.kind for chip in box(drawn(story), "ordered").chips] == ["open", "documented"]


def test_an_order_of_unknown_method_has_no_map_but_its_list() -> None:
    order = Order("order-1", Facts(START, START), History.of([Event(1, START, Status("gibberish"))]))
    story = Story(order, START)
    assert draw(story) is None
    assert [step.label for step in steps(story)] == ["gibberish"]


def test_the_drawing_is_an_image_described_by_the_list_and_styled_by_classes_only() -> None:
    root = svg_of(a_story(Method.WALK_IN, "ordered", "requisition_created", line="a <b>bold</b> line"))
    svg = root.find(".//svg[@role='img']")
    assert svg is not None
    ids = {element.get("id") for element in root.iter()}
    assert svg.get("aria-labelledby") in ids
    assert svg.get("aria-describedby") in ids
    assert not [element for element in root.iter() if element.get("style") or element.tag in {"style", "b"}]
    assert len(root.findall(".//ol[@id='map-steps']/li")) == 2


def test_everything_in_the_drawing_stands_in_the_list_too() -> None:
    hold = Deed("hold", START + HOUR, "held by ana: asked to")
    story = a_story(Method.AT_HOME, "ordered", "requisition_created", "a<script>", deeds=(hold,))
    told = "".join(svg_of(story).find(".//ol[@id='map-steps']").itertext())  # type: ignore[union-attr]
    for words in ("Ordered", "Requisition created", "a<script>", "held by ana: asked to", "does not know"):
        assert words in told


@given(st.data())
def test_whatever_happened_can_be_drawn(data: st.DataObject) -> None:
    method = data.draw(st.sampled_from(list(Method)))
    name = st.sampled_from([*names_of(method), "on_the_moon", "x" * 60])
    story = a_story(method, *data.draw(st.lists(name, max_size=12)))
    drawing = drawn(story)
    assert len([one for one in drawing.boxes if one.state is State.CURRENT]) <= 1
    assert all(one.x >= 0 and one.right <= drawing.width for one in drawing.boxes)
    assert all(one.y + one.height <= drawing.height for one in drawing.boxes)
    assert sum(len(one.stays) for one in drawing.boxes) == len(story.stays) == len(steps(story))
