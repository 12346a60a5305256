"""Keys and values that are kept give what reading everything again gives."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import peers
from jeoni.base.batch import Batch
from jeoni.models import backbone
from jeoni.models.spec import ArchSpec
from jeoni.nn.cache import Cache

GPT = ArchSpec(
    vocab=61, hidden=24, layers=3, heads=3, feed_forward=40, width=24, positions=40, segments=0,
    norm="pre", causal=True, activation="gelu_new",
)  # fmt: skip
SPECS = {
    "GPT-2": GPT,
    "GPT-1": replace(GPT, norm="post", embedding_norm=False),
    "bands": replace(GPT, windows=(0, 3, 1)),
    "relative positions": replace(
        GPT, position_kind="relative", norm_kind="rms", bias=False, scaled_attention=False, buckets=8,
        distance=9, gated=True,
    ),
    "waves": replace(GPT, position_kind="sinusoidal", scaled_embeddings=True),
    "shared blocks": replace(GPT, blocks=1, layers=3),
    "other head size": replace(GPT, head_size=5),
}  # fmt: skip
LENGTHS = (5, 1, 9, 5, 2)
STEPS = 7


def built(spec: ArchSpec, seed: int = 0) -> backbone.Backbone:
    body = backbone.build(spec)
    peers.scramble(body, seed)
    return body.eval()  # type: ignore[return-value]


def draw(lengths: Sequence[int], seed: int = 0) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(61, (n,), generator=generator).tolist() for n in lengths]


def one_more(ids: Sequence[Sequence[int]]) -> Batch:
    """The last token of each sequence, in its place."""
    batch = Batch.pack([row[-1:] for row in ids])
    return replace(batch, positions=torch.tensor([len(row) - 1 for row in ids]))


def last(hidden: Tensor, batch: Batch) -> Tensor:
    return hidden[batch.ends]


@pytest.mark.parametrize("name", SPECS)
def test_states_are_those_of_reading_again(name: str) -> None:
    body, ids = built(SPECS[name]), draw([n + STEPS for n in LENGTHS])
    cache = Cache(layers=3, room=max(LENGTHS) + STEPS)
    with torch.no_grad():
        batch = Batch.pack([row[:n] for row, n in zip(ids, LENGTHS, strict=True)])
        assert torch.equal(body.extend(batch, cache), body(batch))
        for step in range(1, STEPS + 1):
            so_far = [row[: n + step] for row, n in zip(ids, LENGTHS, strict=True)]
            again = Batch.pack(so_far)
            mine = body.extend(one_more(so_far), cache)
            assert peers.error(mine, last(body(again), again)) < 1e-5
    assert cache.columns == cache.room


@pytest.mark.parametrize("name", ["GPT-2", "relative positions", "bands"])
def test_sequences_leave_and_others_go_on(name: str) -> None:
    """The longest prompt leaves, then all but one: columns stay, what is masked stays masked."""
    body, ids = built(SPECS[name]), draw([n + 6 for n in LENGTHS])
    cache = Cache(layers=3, room=20)
    staying = [0, 1, 2, 3, 4]
    with torch.no_grad():
        body.extend(Batch.pack([row[:n] for row, n in zip(ids, LENGTHS, strict=True)]), cache)
        for step in range(1, 7):
            keep = {3: [0, 1, 3, 4], 5: [1]}.get(step, staying)
            if keep != staying:
                cache.select([staying.index(i) for i in keep], [])
                staying = keep
            so_far = [ids[i][: LENGTHS[i] + step] for i in staying]
            again = Batch.pack(so_far)
            mine = body.extend(one_more(so_far), cache)
            assert peers.error(mine, last(body(again), again)) < 1e-5


def test_beams_part_and_change_places() -> None:
    body, prompts = built(GPT), draw((4, 7))
    rows = [list(prompt) for prompt in prompts for _ in range(3)]
    cache = Cache(layers=3, room=14)
    orders = [[0, 0, 1, 5, 4, 3], [2, 1, 1, 3, 3, 3], [0, 1, 2, 3, 4, 5]]
    with torch.no_grad():
        body.extend(Batch.pack(prompts), cache)
        cache.repeat(3)
        for step, order in enumerate(orders):
            rows = [[*row, (7 * number + step) % 61] for number, row in enumerate(rows)]
            again = Batch.pack(rows)
            mine = body.extend(one_more(rows), cache)
            assert peers.error(mine, last(body(again), again)) < 1e-5
            cache.reorder(torch.tensor(order))
            rows = [rows[i] for i in order]


def encoder_decoder() -> ArchSpec:
    return replace(SPECS["relative positions"], causal=False, decoder_layers=2)


@pytest.mark.parametrize("lengths", [LENGTHS, (4, 4, 4, 4, 4)])
@pytest.mark.parametrize("width", [1, 3])
def test_decoder_reads_the_encoder_once(lengths: tuple[int, ...], width: int) -> None:
    """Its output goes; beams share what was computed of it; prompts leave with theirs."""
    body = backbone.build(encoder_decoder()).eval()
    peers.scramble(body)
    assert isinstance(body, backbone.EncoderDecoder)
    batch, starts = Batch.pack(draw(lengths)), draw((1, 2, 1, 4, 1), seed=1)
    cache = Cache(layers=2, room=12)
    encoded = 0

    def count(*_: object) -> None:
        nonlocal encoded
        encoded += 1

    body.encoder.stack.register_forward_hook(count)
    rows = [(number, list(start)) for number, start in enumerate(starts) for _ in range(width)]
    with torch.no_grad():
        first = replace(batch, decoder=Batch.pack(starts))
        assert torch.equal(body.extend(first, cache), body(first))
        cache.repeat(width)
        for step in range(1, 6):
            if step == 3:
                staying = [1, 2, 4]
                cache.select(
                    [i for i, (number, _) in enumerate(rows) if number in staying], staying
                )
                rows = [row for row in rows if row[0] in staying]
            for i, (_, ids) in enumerate(rows):
                ids.append((5 * i + step) % 61)
            again = Batch.pack([draw(lengths)[number] for number, _ in rows])
            again = replace(again, decoder=Batch.pack([ids for _, ids in rows]))
            encoded = 0
            mine = body.extend(one_more([ids for _, ids in rows]), cache)
            assert encoded == 0
            assert again.decoder is not None
            assert peers.error(mine, last(body(again), again.decoder)) < 1e-5


def test_what_padding_holds_does_not_matter() -> None:
    """New memory may hold anything, NaN too."""
    body, ids = built(GPT), draw((2, 8))
    cache = Cache(layers=3, room=9)
    with torch.no_grad():
        body.extend(Batch.pack(ids), cache)
        for own in cache.layers:
            assert own.keys is not None
            assert own.values is not None
            own.keys[:, :, 8:], own.values[:, :, 8:] = float("nan"), float("nan")
            own.keys[0, :, :6], own.values[0, :, :6] = 1e4, -1e4
        rows = [[*row, 3] for row in ids]
        again = Batch.pack(rows)
        assert peers.error(body.extend(one_more(rows), cache), last(body(again), again)) < 1e-5


def test_no_room_and_two_tokens_at_once() -> None:
    body, cache = built(GPT), Cache(layers=3, room=3)
    with torch.no_grad():
        with pytest.raises(ValueError, match="no room"):
            Cache(layers=3, room=3).advance((4, 1))
        body.extend(Batch.pack([[1, 2], [3]]), cache)
        with pytest.raises(ValueError, match="more than one"):
            body.extend(Batch.pack([[1, 2], [3]]), cache)


def test_bfloat16() -> None:
    body, ids = built(replace(GPT, init_range=0.1)), draw((3, 6))
    for parameter in body.parameters():
        parameter.data.mul_(0.3 if parameter.dim() > 1 else 1.0)
    with torch.no_grad():
        right = body(Batch.pack(ids))
        body.bfloat16()
        cache = Cache(layers=3, room=6)
        body.extend(Batch.pack([row[:-1] for row in ids]), cache)
        mine = body.extend(one_more(ids), cache)
    assert mine.dtype == torch.bfloat16
    assert peers.error(mine.float(), last(right, Batch.pack(ids))) < 0.04
