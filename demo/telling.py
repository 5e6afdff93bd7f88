"""What the demo says on the terminal: what becomes of each order and why, and the table at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from rich.box import SIMPLE
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from demo.cast import Ending, Story
from demo.checking import Outcome, Told, wrong_with

METHODS = {
    "testkit": "test kit",
    "walk_in_test": "walk-in",
    "at_home_phlebotomy": "home visit",
    "on_site_collection": "on site",
}
STYLES = {
    Ending.CANCELLED: "green",
    Ending.KEPT: "blue",
    Ending.BLOCKED: "yellow",
    Ending.REFUSED: "magenta",
    Ending.SLOT: "green",
    Ending.REVIEW: "cyan",
    Ending.SHADOW: "bright_black",
    Ending.FAILED: "red",
}


@dataclass(frozen=True, slots=True)
class Teller:
    """Says it, in words and colours."""

    console: Console

    def say(self, text: str) -> None:
        """About the demo itself."""
        self.console.print(Text(f"· {text}", style="dim"), soft_wrap=True)

    def warn(self, text: str) -> None:
        self.console.print(Text(text, style="red"), soft_wrap=True)

    def busy(self, text: str) -> AbstractContextManager[object]:
        """Something that takes a while."""
        return self.console.status(text)

    @contextmanager
    def progress(self, total: int) -> Iterator[Callable[[], None]]:
        """A bar under everything said meanwhile; call what it gives for each step."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task("orders that have come to an end", total=total)
            yield lambda: progress.advance(task)

    def tell(self, seconds: float, story: Story, told: Told, page: str) -> None:
        """How the story of one order ended. In terminals that know links the name leads to its page."""
        line = Table.grid(padding=(0, 1))
        for width in (6, 9, 10, 5):
            line.add_column(width=width, no_wrap=True)
        line.add_row(
            f"{seconds:4.1f} s",
            Text(told.ending, style=STYLES[told.ending]),
            METHODS[story.method],
            Text(story.who, style=f"bold link {page}"),
            _because(story, told),
        )
        self.console.print(line)

    def summary(self, outcomes: Sequence[Outcome]) -> None:
        """Ours by method, and what the sandbox says of it."""
        table = Table(title="How it ended", title_justify="left", box=SIMPLE, padding=0)
        table.add_column("", no_wrap=True)
        for heading in ("orders", *STYLES):  # all fit into 80 columns if those of two words break
            table.add_column(heading, justify="right", no_wrap=" " not in heading)
        for method, name in METHODS.items():
            table.add_row(name, *_counts([one for one in outcomes if one.story.method == method]))
        table.add_section()
        table.add_row("all", *_counts(outcomes), style="bold")
        table.add_row("sandbox", *_counts_of_the_sandbox(outcomes), style="dim")
        self.console.print()
        self.console.print(table)

    def verdict(self, outcomes: Sequence[Outcome]) -> bool:
        """Says everything that does not agree; whether all does."""
        wrong = [(outcome, text) for outcome in outcomes for text in wrong_with(outcome)]
        for outcome, text in wrong:
            self.warn(f"✗ {outcome.story.who}: {text}")
        if not wrong:
            self.console.print(
                Text("✓ Checked against the sandbox: every order ended as it should. ", style="green")
                + Text("None was cancelled twice, and none was called about after its cancellation."),
            )
        return not wrong


def _because(story: Story, told: Told) -> RenderableType:
    if (told.ending, told.rule) != (story.ending, story.rule):
        return Text(f"not as it should be ({story.ending} by {story.rule}): {told.reason}", style="red")
    return Text(story.why) + Text(f"  {told.rule}" if told.rule else "", style="dim")


def _counts(outcomes: Sequence[Outcome]) -> list[str]:
    found = Counter(outcome.told.ending for outcome in outcomes)
    return [str(len(outcomes)), *(str(found[ending]) for ending in STYLES)]


def _counts_of_the_sandbox(outcomes: Sequence[Outcome]) -> list[str]:
    """It knows what was cancelled, and nothing of reasons."""
    cancelled = sum(
        any(call.applied and call.operation == "cancel_order" for call in outcome.calls)
        for outcome in outcomes
    )
    known = {Ending.CANCELLED: str(cancelled)}
    orders = sum(outcome.true_status is not None for outcome in outcomes)
    return [str(orders), *(known.get(ending, "") for ending in STYLES)]
