"""Both servers on one tree, and the comparison of what they say to one script."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import servers
from deviations import Deviation
from inflate import inflated
from oracle import Oracle
from servers import Server, Tree
from wire import Client, Script, Transcript, flat, modern


@dataclass(frozen=True)
class Scenario:
    """A script with a name; the two servers must answer it alike, or differ as `deviation` says."""

    name: str
    script: Script
    deviation: Deviation | None = None


@dataclass
class Pair:
    """The oracle and wshost, running on the same tree."""

    reference: Server
    subject: Server

    @classmethod
    def start(cls, oracle: Oracle, tree: Tree) -> Pair:
        """Starts both."""
        reference = servers.start_reference(oracle, tree)
        try:
            return cls(reference, servers.start_subject(oracle, tree))
        except BaseException:
            reference.stop()
            raise

    def stop(self) -> None:
        """Stops both."""
        self.reference.stop()
        self.subject.stop()

    def run(self, script: Script) -> tuple[Transcript, Transcript]:
        """Gives the script to one server after the other."""
        steps = list(flat(script))
        reference = modern(Client(self.reference).run(steps))
        subject = Client(self.subject).run(steps)
        return reference, modern(subject) if servers.SELF else subject

    def check(self, scenario: Scenario) -> None:
        """Fails unless the transcripts are equal, or differ in the claimed way."""
        reference, subject = self.run(scenario.script)
        for name, transcript in (("reference", reference), ("wshost", subject)):
            late = [event for event in transcript if "timeout" in event.what]
            assert not late, f"the {name} kept the client waiting:\n{show(transcript)}"
        if scenario.deviation is None:
            if subject != reference:
                reference, subject = inflated(reference), inflated(subject)
            assert are_alike(subject, reference), difference(scenario, reference, subject)
            early = [event for event in reference if ": " in event.what and not event.what.startswith("eof")]
            assert not early, f"the script asks for more than there is:\n{show(reference)}"
            return
        assert said(reference) == scenario.deviation.reference, show(reference)
        if not servers.SELF:
            assert said(subject) == scenario.deviation.wshost, show(subject)


def are_alike(one: Transcript, other: Transcript) -> bool:
    """Whether both tell the same, as far as the network lets them.

    A server that ends a connection with bytes unread resets it. Whether there are any is a matter of time,
    and a reset overtakes what was sent before: then one has received the beginning of what the other has.
    """
    if len(one) != len(other):
        return False
    for event, other_event in zip(one, other):
        whats = {event.what, other_event.what}
        if "eof: reset" in whats and whats <= {"eof: reset", "eof: eof"}:
            size = min(len(event.data), len(other_event.data))
            event = replace(event, what="eof", data=event.data[:size])
            other_event = replace(other_event, what="eof", data=other_event.data[:size])
        if event != other_event:
            return False
    return True


Pairs = Callable[[Tree], Pair]
"""Gives the two servers on a tree; the same ones for the same tree."""


def said(transcript: Transcript) -> bytes:
    """What the server sent after the response heads."""
    return b"".join(event.data for event in transcript if event.what != "head")


def show(transcript: Transcript) -> str:
    """One line for each event."""
    return "\n".join(f"    {event}" for event in transcript)


def difference(scenario: Scenario, reference: Transcript, subject: Transcript) -> str:
    """The script, what both agree on, and from where on they do not."""
    same = 0
    while reference[same : same + 1] == subject[same : same + 1] and same < len(reference):
        same += 1
    sent = "\n".join(
        f"    {step.on} {step.action} {step.data[:300]!r} {step.count or ''}"
        for step in flat(scenario.script)
    )
    return (
        f"{scenario.name}\n  script:\n{sent}\n  both:\n{show(reference[:same])}\n"
        f"  reference:\n{show(reference[same:])}\n  wshost:\n{show(subject[same:])}"
    )
