"""ELMo as a plain, slow loop over its published weights, from the papers' equations.

Words from characters: Kim et al., "Character-aware neural language models", 2016, equations (2), (3) and
(8). LSTM with projection: Sak et al., 2014, equations (1) to (8) without peepholes, as used by Jozefowicz
et al., 2016. Layers and mix: Peters et al., 2018, sections 3.1 to 3.3. Clipping, the order of the gates
and what is added to the forget gate's bias are those of TensorFlow's ``LSTMCell``, as are the names.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]
Carry = dict[tuple[int, int], tuple[Tensor, Tensor]]


def characters(word: str | int, length: int) -> list[int]:
    """Of a word, or of a mark (256 begins a sentence, 257 ends it); one more than published, for 0."""
    content = [word] if isinstance(word, int) else list(word.encode("utf-8"))[: length - 2]
    row = [258, *content, 259]
    return [n + 1 for n in row + [260] * (length - len(row))]


def word_vector(w: Weights, options: Mapping[str, Any], row: Sequence[int]) -> Tensor:
    cnn = options["char_cnn"]
    nonlinear = {"relu": torch.relu, "tanh": torch.tanh}[cnn["activation"]]
    letters = [w["char_embed"][n - 1] if n else torch.zeros_like(w["char_embed"][0]) for n in row]
    features = []
    for number, (width, count) in enumerate(cnn["filters"]):
        kernel, bias = w[f"CNN/W_cnn_{number}"][0], w[f"CNN/b_cnn_{number}"]
        for k in range(count):
            values = []
            for start in range(len(row) - width + 1):
                total = bias[k]
                for i in range(width):
                    total = total + letters[start + i] @ kernel[i, :, k]
                values.append(nonlinear(total))
            features.append(torch.stack(values).max())
    x = torch.stack(features)
    for number in range(cnn["n_highway"]):
        own = f"CNN_high_{number}"
        gate = torch.sigmoid(x @ w[f"{own}/W_carry"] + w[f"{own}/b_carry"])
        new = torch.relu(x @ w[f"{own}/W_transform"] + w[f"{own}/b_transform"])
        x = gate * new + (1 - gate) * x
    return x @ w["CNN_proj/W_proj"] + w["CNN_proj/b_proj"]


def clip(x: Tensor, limit: float | None) -> Tensor:
    return x.clamp(-limit, limit) if limit else x


def read(
    w: Weights,
    options: Mapping[str, Any],
    inputs: Sequence[Tensor],
    side: int,
    layer: int,
    carry: Carry | None = None,
) -> list[Tensor]:
    """One layer in one direction over one sentence; ``carry`` is read and written."""
    lstm = options["lstm"]
    own = f"RNN_{side}/RNN/MultiRNNCell/Cell{layer}/LSTMCell"
    half = lstm["projection_dim"]
    c, h = (w[f"{own}/B"].new_zeros(n) for n in (lstm["dim"], half))
    if carry is not None and (side, layer) in carry:
        c, h = carry[side, layer]
    outputs = []
    for x in inputs if side == 0 else inputs[::-1]:
        i, j, f, o = (torch.cat([x, h]) @ w[f"{own}/W_0"] + w[f"{own}/B"]).chunk(4)
        c = torch.sigmoid(f + 1) * c + torch.sigmoid(i) * torch.tanh(j)
        c = clip(c, lstm["cell_clip"])
        h = clip((torch.sigmoid(o) * torch.tanh(c)) @ w[f"{own}/W_P_0"], lstm["proj_clip"])
        residual = lstm["use_skip_connections"] and layer > 0
        outputs.append(h + x if residual else h)
    if carry is not None:
        carry[side, layer] = (c, h)
    return outputs if side == 0 else outputs[::-1]


def states(
    w: Weights, options: Mapping[str, Any], words: Sequence[str], carry: Carry | None = None
) -> list[Tensor]:
    """The three layers of one sentence, ``[T, 2 P]`` each, without its marks."""
    length = options["char_cnn"]["max_characters_per_token"]
    rows = [characters(word, length) for word in (256, *words, 257)]
    ahead = behind = [word_vector(w, options, row) for row in rows]
    layers = [torch.stack([torch.cat([a, b]) for a, b in zip(ahead, behind, strict=True)])]
    for layer in range(options["lstm"]["n_layers"]):
        ahead = read(w, options, ahead, 0, layer, carry)
        behind = read(w, options, behind, 1, layer, carry)
        layers.append(torch.stack([torch.cat(pair) for pair in zip(ahead, behind, strict=True)]))
    return [layer[1:-1] for layer in layers]


def draw(options: Mapping[str, Any], seed: int = 0) -> dict[str, Tensor]:
    """Published weights of these sizes, random, large enough that clipping and gates matter; float64."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        drawn = torch.randn(*shape, generator=generator, dtype=torch.float64) * 0.5
        return drawn.float().double().requires_grad_()

    cnn, lstm = options["char_cnn"], options["lstm"]
    width, half, cells = cnn["embedding"]["dim"], lstm["projection_dim"], lstm["dim"]
    total = sum(n for _, n in cnn["filters"])
    w = {"char_embed": normal(261, width)}
    for number, (seen, count) in enumerate(cnn["filters"]):
        w[f"CNN/W_cnn_{number}"] = normal(1, seen, width, count)
        w[f"CNN/b_cnn_{number}"] = normal(count)
    for number in range(cnn["n_highway"]):
        for part in ("carry", "transform"):
            w[f"CNN_high_{number}/W_{part}"] = normal(total, total)
            w[f"CNN_high_{number}/b_{part}"] = normal(total)
    w["CNN_proj/W_proj"], w["CNN_proj/b_proj"] = normal(total, half), normal(half)
    for side in range(2):
        for layer in range(lstm["n_layers"]):
            own = f"RNN_{side}/RNN/MultiRNNCell/Cell{layer}/LSTMCell"
            w[f"{own}/W_0"], w[f"{own}/B"] = normal(2 * half, 4 * cells), normal(4 * cells)
            w[f"{own}/W_P_0"] = normal(cells, half)
    return w
