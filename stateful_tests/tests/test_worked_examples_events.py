"""Worked example X-24: KV events."""

from __future__ import annotations

from radixproof.model import operations as op
from radixproof.model.blocks import blocks
from radixproof.model.subject import OpenSubject
from radixproof.stateful_tests.tests.notation import Example, full_only, tiers


def test_x24_event_stream(open_subject: OpenSubject) -> None:
    x = Example(open_subject, full_only(kv_events=True))
    stream = list(x.state.events)

    def then(*operations: op.Operation) -> None:
        for operation in operations:
            x.do(operation)
            stream.extend(x.state.events)

    then(op.Insert((1, 2)), op.Insert((1, 2, 3)))
    then(*[op.Execute(op.WRITE)] * 2, op.Observe(op.WRITE), op.Evict(1), op.EvictHost(1))
    one, two, three = blocks("", (1, 2, 3), 1)
    assert one == 0x67ABDD721024F0FF
    assert [(e.kind, e.medium, e.block, e.parent, e.tokens) for e in stream] == [
        ("cleared", "", None, None, ()),
        ("stored", "gpu", one, None, (1,)),
        ("stored", "gpu", two, one, (2,)),
        ("stored", "gpu", three, two, (3,)),
        ("stored", "cpu", one, None, (1,)),
        ("stored", "cpu", two, one, (2,)),
        ("stored", "cpu", three, two, (3,)),
        ("removed", "gpu", three, None, ()),
        ("removed", "cpu", three, None, ()),
    ]


def test_a_write_that_was_split_is_told_whole(open_subject: OpenSubject) -> None:
    """X-8 with events: all four blocks are stored on the host, parents first."""
    x = Example(open_subject, tiers(window=2, kv_events=True))
    x.insert(1, 2, 3, 4)
    x.match(1, 2, 3)
    x.do(op.Execute(op.WRITE))
    x.do(op.Execute(op.WRITE))
    x.do(op.Observe(op.WRITE))
    assert [e.block for e in x.state.events] == list(blocks("", (1, 2, 3, 4), 1))


def test_namespaces_share_no_block() -> None:
    assert not set(blocks("", (1, 2), 1)) & set(blocks("lora", (1, 2), 1))
