"""How long a gate looks: counts, so that the same seed gives the same run on every machine."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, settings


@dataclass(frozen=True, slots=True)
class Profile:
    """``rounds`` rounds; each is a batch of machine examples and a batch of random walks."""

    name: str
    rounds: int
    examples: int
    example_steps: int
    walks: int
    walk_steps: int


PROFILES = {
    p.name: p
    for p in (
        Profile("quick", 8, 20, 30, 60, 50),
        Profile("ci", 40, 20, 40, 75, 60),
        Profile("nightly", 1500, 20, 50, 75, 80),
    )
}


def machine_settings(profile: Profile, *, database: bool, shrink: bool = False) -> settings:
    """Hypothesis settings of one batch. No deadline: a verdict does not depend on speed.

    The gate leaves shrinking to ``shrink.py``, which needs a fraction of the executions.
    """
    phases = (Phase.reuse, Phase.generate, Phase.shrink)
    base = settings(
        max_examples=profile.examples,
        stateful_step_count=profile.example_steps,
        deadline=None,
        derandomize=False,
        print_blob=False,
        report_multiple_bugs=False,
        phases=phases if shrink else phases[:-1],
        suppress_health_check=list(HealthCheck),
    )
    return base if database else settings(base, database=None)
