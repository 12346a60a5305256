"""XLM-R: Conneau et al., "Unsupervised cross-lingual representation learning at scale", ACL 2020.

RoBERTa with a Unigram vocabulary of 100 languages.
"""

from dataclasses import replace

from jeoni.models.families import roberta

FAMILY = replace(
    roberta.FAMILY,
    name="xlm-roberta",
    presets={
        "xlm-roberta-base": replace(roberta.BASE, vocab=250002),
        "xlm-roberta-large": replace(roberta.LARGE, vocab=250002),
    },
    architectures={kinds: f"XLM{name}" for kinds, name in roberta.FAMILY.architectures.items()},
    tokenizer="XLMRobertaTokenizer",
)
