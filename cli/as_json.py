"""Results for machines. What depends on the clock stands under ``timing`` and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from radixproof.model.trace import dumps
from radixproof.stateful_tests.lockstep import Coverage
from radixproof.stateful_tests.verdict import Counterexample


def write(path: Path | None, result: dict[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def verdict(found: Counterexample | None) -> str:
    return "held" if found is None else "counterexample"


def coverage_json(coverage: Coverage) -> dict[str, Any]:
    return {
        "configurations": coverage.configurations,
        "steps": coverage.steps,
        "invariant_evaluations": coverage.evaluations,
        "links": dict(sorted(coverage.links.items())),
        "outcomes": {f"{o} {kind}": n for (o, kind), n in sorted(coverage.outcomes.items())},
    }


def counterexample_json(found: Counterexample | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "trace": json.loads(dumps(found.trace)),
        "step": found.step + 1,
        "outcome": found.outcome.kind if found.outcome else None,
        "findings": [
            {
                "subject": f.who,
                "oracle": f.slug,
                "number": f.violation.number if f.violation else None,
                "message": f.message,
            }
            for f in found.findings
        ],
    }
