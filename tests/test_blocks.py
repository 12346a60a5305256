"""Blocks, stack, embeddings and heads against torch's own layers with the same weights."""

import pytest
import torch
from torch import Tensor, nn

from jeoni.base.batch import Batch
from jeoni.nn.activations import ACTIVATIONS
from jeoni.nn.attention import SelfAttention
from jeoni.nn.block import Block, FeedForward, NormOrder
from jeoni.nn.context import Context
from jeoni.nn.embeddings import Embeddings
from jeoni.nn.heads import ClassificationHead, MaskedLMHead, ReplacedTokenHead, SpanHead
from jeoni.nn.positions import LearnedPositions
from jeoni.nn.stack import Stack

HIDDEN, HEADS, INNER = 48, 3, 80
LENGTHS = (5, 1, 17, 4)
CONTEXT = Context(lengths=LENGTHS)
BATCH = Batch.pack([[1] * 4, [1] * 3])


def block(order: NormOrder, *, causal: bool = False, dropout: float = 0.0) -> Block:
    made = Block(
        attention=SelfAttention(hidden=HIDDEN, heads=HEADS, dropout=dropout, causal=causal),
        feed_forward=FeedForward(hidden=HIDDEN, inner=INNER, activation="gelu"),
        norms=(nn.LayerNorm(HIDDEN, eps=1e-6), nn.LayerNorm(HIDDEN, eps=1e-6)),
        order=order,
        dropout=dropout,
    )
    scramble(made)
    return made


def scramble(module: nn.Module) -> None:
    """Weights with no zeros and ones in them, so that nothing is right by luck."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data.normal_(0, 0.3, generator=generator)


def peer(ours: Block) -> nn.TransformerEncoderLayer:
    """torch's layer with the weights of ours; in training mode, so off its fast path."""
    layer = nn.TransformerEncoderLayer(
        HIDDEN, HEADS, INNER, dropout=0, activation="gelu", layer_norm_eps=1e-6,
        batch_first=True, norm_first=ours.order == "pre",
    )  # fmt: skip
    pairs = [
        (layer.self_attn.out_proj, ours.attention.out),
        (layer.linear1, ours.feed_forward.up),
        (layer.linear2, ours.feed_forward.down),
        (layer.norm1, ours.attention_norm),
        (layer.norm2, ours.feed_forward_norm),
    ]
    for theirs, mine in pairs:
        theirs.load_state_dict(mine.state_dict())
    layer.self_attn.in_proj_weight.data.copy_(ours.attention.qkv.weight)
    layer.self_attn.in_proj_bias.data.copy_(ours.attention.qkv.bias)
    return layer.train()


def one_by_one(layer: nn.TransformerEncoderLayer, x: Tensor, causal: bool) -> Tensor:
    outs = []
    for part in x.split(LENGTHS):
        mask = nn.Transformer.generate_square_subsequent_mask(len(part), dtype=x.dtype)
        outs.append(layer(part[None], src_mask=mask if causal else None)[0])
    return torch.cat(outs)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("order", ["post", "pre"])
def test_block_equals_torch(order: NormOrder, causal: bool) -> None:
    ours = block(order, causal=causal)
    theirs = peer(ours)
    x = torch.randn(sum(LENGTHS), HIDDEN, requires_grad=True)
    mine, right = ours(x, CONTEXT), one_by_one(theirs, x, causal)
    torch.testing.assert_close(mine, right, rtol=1e-5, atol=1e-5)

    weights = torch.randn_like(mine)
    (dx,) = torch.autograd.grad((mine * weights).sum(), x, retain_graph=True)
    (right_dx,) = torch.autograd.grad((right * weights).sum(), x, retain_graph=True)
    torch.testing.assert_close(dx, right_dx, rtol=1e-4, atol=1e-4)
    (mine * weights).sum().backward()
    (right * weights).sum().backward()
    qkv = ours.attention.qkv.weight.grad
    torch.testing.assert_close(qkv, theirs.self_attn.in_proj_weight.grad, rtol=1e-4, atol=1e-3)
    up = ours.feed_forward.up.weight.grad
    torch.testing.assert_close(up, theirs.linear1.weight.grad, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("order", ["post", "pre"])
def test_stack_states_and_output_agree(order: NormOrder) -> None:
    norm = nn.LayerNorm(HIDDEN) if order == "pre" else None
    stack = Stack([block(order) for _ in range(3)], final_norm=norm)
    x = torch.randn(sum(LENGTHS), HIDDEN)
    states = stack.states(x, CONTEXT)
    assert len(states) == 4
    assert torch.equal(states[0], x)
    assert torch.equal(states[-1], stack(x, CONTEXT))
    theirs = one_by_one(peer(stack.blocks[0]), x, False)  # type: ignore[arg-type]
    torch.testing.assert_close(states[1], theirs, rtol=1e-5, atol=1e-5)
    if norm is not None:
        torch.testing.assert_close(states[-1].mean(1), torch.zeros(len(x)), atol=1e-5, rtol=0)


def test_dropout_acts_in_training_only() -> None:
    layer, x = block("post", dropout=0.5), torch.randn(sum(LENGTHS), HIDDEN)
    assert not torch.equal(layer(x, CONTEXT), layer(x, CONTEXT))
    layer.eval()
    assert torch.equal(layer(x, CONTEXT), layer(x, CONTEXT))
    torch.testing.assert_close(layer(x, CONTEXT), one_by_one(peer(layer), x, False))


def test_heads_must_divide_the_hidden_size() -> None:
    with pytest.raises(ValueError, match="50 is not a multiple of 3"):
        SelfAttention(hidden=50, heads=3, dropout=0, causal=False)


@pytest.mark.parametrize(
    ("width", "segments", "eps"), [(48, 2, 1e-12), (20, 2, 1e-12), (48, 0, None)]
)
def test_embeddings_are_the_sum_of_their_tables(
    width: int, segments: int, eps: float | None
) -> None:
    layer = Embeddings(
        words=nn.Embedding(11, width), hidden=HIDDEN, positions=LearnedPositions(9, width),
        segments=segments, norm=None if eps is None else nn.LayerNorm(width, eps=eps), dropout=0,
    )  # fmt: skip
    scramble(layer)
    ids, positions = torch.tensor([10, 0, 3]), torch.tensor([0, 8, 0])
    x = layer.words.weight[ids] + layer.positions.weight[positions]
    if layer.segments is not None:
        x = x + layer.segments.weight[[1, 0, 1]]
    if layer.norm is not None:
        x = nn.functional.layer_norm(x, (width,), layer.norm.weight, layer.norm.bias, 1e-12)
    if width != HIDDEN:
        assert layer.project is not None
        x = x @ layer.project.weight.t() + layer.project.bias
    torch.testing.assert_close(layer(ids, positions, torch.tensor([1, 0, 1])), x)


def test_head_shapes() -> None:
    hidden = torch.randn(7, HIDDEN)
    assert SpanHead(HIDDEN)(hidden).shape == (7, 2)
    assert ReplacedTokenHead(HIDDEN, activation="gelu")(hidden).shape == (7,)
    lm = MaskedLMHead(HIDDEN, 20, 11, activation="gelu", norm_eps=1e-12)
    assert lm(hidden, torch.randn(11, 20)).shape == (7, 11)
    head = ClassificationHead(HIDDEN, 3, activation="tanh", dropout=0, dropout_first=False)
    assert head(hidden, BATCH).shape == (2, 3)


def test_classification_reads_first_tokens_only() -> None:
    head = ClassificationHead(HIDDEN, 3, activation="tanh", dropout=0, dropout_first=True)
    hidden = torch.randn(7, HIDDEN)
    other = hidden.clone()
    other[[1, 2, 3, 5, 6]] = 9
    assert torch.equal(head(hidden, BATCH), head(other, BATCH))


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activation_names_mean_what_transformers_means(name: str) -> None:
    from transformers.activations import ACT2FN

    x = torch.linspace(-6, 6, 200)
    torch.testing.assert_close(ACTIVATIONS[name](x), ACT2FN[name](x))
