"""What the disasters of a storm strike."""

from collections.abc import Callable
from random import Random

from msgspec import Struct

from backstop.storm.guard_host import GuardHost
from backstop.storm.machine import StormMachine
from backstop.storm.network import Network
from backstop.storm.plan import Plan
from backstop.storm.story import Story
from backstop.storm.truth import Truth
from backstop.storm.venue import StormVenue


class Storm(Struct):
    """Everything of one seed that something can happen to."""

    plan: Plan
    chance: Random
    host: GuardHost
    machine: StormMachine
    network: Network
    venue: StormVenue
    truth: Truth
    story: Story
    disturb: Callable[[], None]
    broke: Callable[[str, str], None]
    foreign: set[int]
