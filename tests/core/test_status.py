"""The catalogue of statuses against the published one, written down here a second time and by hand."""

import pytest

from workers.core.status import (
    CATALOGUE,
    KNOWN_NAMES,
    Method,
    Reach,
    Status,
    Window,
    entry,
    names_of,
)

# method | low levels | high levels | Junction's guide: cancellable | ours: may be cancelled
PUBLISHED = """
testkit            | ordered awaiting_registration                    | received            | yes | yes
testkit            | requisition_created requisition_bypassed         | received            | yes | unshipped
testkit            | registered                                       | received            | yes | kits
testkit            | transit_customer out_for_delivery with_customer  | collecting          | no  | no
testkit            | transit_lab problem_in_transit_customer          | collecting          | no  | no
testkit            | problem_in_transit_lab                           | collecting          | no  | no
testkit            | delivered_to_lab lab_processing_blocked          | with_lab            | no  | no
testkit            | completed corrected                              | completed           | no  | no
testkit            | failure_to_deliver_to_customer sample_error lost | failed              | no  | no
testkit            | failure_to_deliver_to_lab                        | failed              | no  | no
testkit            | cancelled do_not_process                         | cancelled           | no  | no
walk_in_test       | ordered requisition_created requisition_bypassed | received            | yes | yes
walk_in_test       | appointment_pending appointment_scheduled        | collecting          | yes | yes
walk_in_test       | appointment_cancelled                            | collecting          | yes | yes
walk_in_test       | redraw_available                                 | collecting          | no  | no
walk_in_test       | partial_results                                  | with_lab            | no  | no
walk_in_test       | completed corrected                              | completed           | no  | no
walk_in_test       | sample_error                                     | failed              | no  | no
walk_in_test       | cancelled                                        | cancelled           | no  | no
at_home_phlebotomy | ordered requisition_created requisition_bypassed | received            | yes | yes
at_home_phlebotomy | appointment_pending appointment_scheduled        | collecting          | yes | yes
at_home_phlebotomy | appointment_cancelled                            | collecting          | yes | yes
at_home_phlebotomy | draw_completed                                   | collecting          | yes | drawn
at_home_phlebotomy | partial_results                                  | with_lab            | no  | no
at_home_phlebotomy | completed corrected                              | completed           | no  | no
at_home_phlebotomy | sample_error                                     | failed              | no  | no
at_home_phlebotomy | cancelled                                        | cancelled           | no  | no
on_site_collection | ordered requisition_created requisition_bypassed | received            | yes | yes
on_site_collection | draw_completed                                   | collecting with_lab | yes | drawn
on_site_collection | partial_results                                  | with_lab            | no  | no
on_site_collection | completed corrected                              | completed           | no  | no
on_site_collection | sample_error                                     | failed              | no  | no
on_site_collection | cancelled                                        | cancelled           | no  | no
"""

LEVELS = {"collecting": "collecting_sample", "with_lab": "sample_with_lab"}
WINDOWS = {
    "yes": Window.OPEN,
    "unshipped": Window.UNTIL_SHIPPED,
    "kits": Window.REGISTERED_KITS,
    "drawn": Window.DRAWN,
    "no": Window.CLOSED,
}


def published() -> dict[tuple[Method, str], tuple[tuple[str, ...], bool, Window]]:
    rows = [[cell.split() for cell in line.split("|")] for line in PUBLISHED.strip().splitlines()]
    return {
        (Method(method[0]), name): (
            tuple(LEVELS.get(level, level) for level in levels),
            guide == ["yes"],
            WINDOWS[ours[0]],
        )
        for method, names, levels, guide, ours in rows
        for name in names
    }


def test_the_catalogue_says_what_is_published_and_nothing_else() -> None:
    ours = {key: (row.levels, row.documented, row.window) for key, row in CATALOGUE.items()}
    assert ours == published()


def test_completed_cancelled_and_failed_orders_have_ended() -> None:
    ends = {"completed", "cancelled", "failed"}
    for row in CATALOGUE.values():
        assert row.terminal == (row.levels[0] in ends)


def test_what_has_ended_can_not_be_cancelled() -> None:
    assert {row.window for row in CATALOGUE.values() if row.terminal} == {Window.CLOSED}


def test_what_we_may_cancel_the_guide_calls_cancellable_too() -> None:
    assert all(row.documented for row in CATALOGUE.values() if row.window is not Window.CLOSED)


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("received.testkit.testkit_registered", "registered"),
        ("received.testkit.registered", "registered"),
        ("completed.walk_in_test.order_completed", "completed"),
    ],
)
def test_both_spellings_are_one_status(raw: str, name: str) -> None:
    status = Status(raw)
    assert status.name == name
    assert status.entry is not None
    assert status.entry.name == name


def test_an_alias_counts_for_its_own_method_only() -> None:
    assert Status("completed.testkit.order_completed").entry is None
    assert Status("received.walk_in_test.testkit_registered").entry is None


@pytest.mark.parametrize("level", ["collecting_sample", "sample_with_lab", "a_level_of_next_year"])
def test_sources_may_disagree_about_the_high_level(level: str) -> None:
    assert Status(f"{level}.on_site_collection.draw_completed").entry is not None


@pytest.mark.parametrize(
    "raw",
    ["received.testkit.lab_is_on_strike", "received.by_drone.ordered", "ordered", "a.b", "", "..", "a.b.c.d"],
)
def test_a_status_nobody_has_seen_is_kept_as_it_came(raw: str) -> None:
    status = Status(raw)
    assert (str(status), status.entry, status.terminal, status.cancelled) == (raw, None, False, False)


def test_two_unknown_statuses_stay_two() -> None:
    assert Status("received.testkit.new_one") != Status("received.testkit.new_two")


def test_a_kit_in_anybodys_hands_has_shipped() -> None:
    collecting = [
        row for row in CATALOGUE.values() if row.method is Method.TESTKIT and row.name != "registered"
    ]
    for row in collecting:
        if row.levels[0] in {"collecting_sample", "sample_with_lab", "completed", "failed"}:
            assert row.reach is not Reach.NOWHERE
    registered = entry(Method.TESTKIT, "registered")
    assert registered is not None
    assert registered.reach is Reach.SHIPPED


def test_a_sample_with_the_lab_or_tested_has_been_collected() -> None:
    for row in CATALOGUE.values():
        if row.levels == ("sample_with_lab",) or row.levels == ("completed",):
            assert row.reach is Reach.COLLECTED


def test_a_completed_draw_has_drawn_blood() -> None:
    drawn = {row.reach for (_, name), row in CATALOGUE.items() if name == "draw_completed"}
    assert drawn == {Reach.DRAWN}


def test_nothing_has_left_the_patient_where_we_may_cancel() -> None:
    for row in CATALOGUE.values():
        if row.window in {Window.OPEN, Window.UNTIL_SHIPPED}:
            assert row.reach is Reach.NOWHERE


def test_every_name_is_in_the_vocabulary() -> None:
    assert {name for method in Method for name in names_of(method)} == KNOWN_NAMES
    assert "testkit_registered" in names_of(Method.TESTKIT)
