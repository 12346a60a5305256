"""GPT-3 without bands, which is GPT-2 of ``transformers`` under another name (see ``peers.own``)."""

import transformers

from peer_gpt2 import draw_batch, fit, forward, make, run

__all__ = ["draw_batch", "fit", "forward", "make", "run"]


class GPT3Config(transformers.GPT2Config):
    """GPT-2's: so that what the contract test saves is read by our GPT-3."""

    model_type = "gpt3"


class GPT3Model(transformers.GPT2Model):
    """GPT-2's, for a preset's size."""

    config_class = GPT3Config


transformers.AutoConfig.register("gpt3", GPT3Config)
transformers.AutoModel.register(GPT3Config, GPT3Model)
