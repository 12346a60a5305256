"""What each published tokenizer is, as data: kind, special tokens, template, order of its vocabulary.

A family of models names its recipe by the class that ``transformers`` calls it (``Family.tokenizer``);
the command line by the short name (``--like``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from jeoni.base.errors import UserError
from jeoni.base.lookup import suggest

# What each special token is called in configuration files, and its usual names in vocabularies.
ROLES = {
    "pad_token": ("[PAD]", "<pad>"),
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "mask_token": ("[MASK]", "<mask>"),
    "bos_token": (),
    "eos_token": (),
}
ANY = "PreTrainedTokenizerFast"  # the class that reads a tokenizer.json as it is
KEY = "jeoni_tokenizer"  # in tokenizer_config.json: the short name, where the class does not tell


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A published tokenizer.

    Attributes:
        name: class of ``transformers``.
        like: short name.
        kind: file in ``kinds/`` that knows its algorithm.
        roles: special token by role.
        single: template of one text.
        pair: template of two.
        first: special tokens at the beginning of a vocabulary learned here.
        last: special tokens at its end.
        extra: further special tokens, beside those with a role.
        options: settings in tokenizer_config.json, with what they are if not there.
        flags: of special tokens, as ``{"<mask>": {"lstrip": True}}``.
        fairseq: pieces of a SentencePiece model that ``first`` takes the place of.
        model_max_length: longest input of the published models, where all have the same.
        own: whether ``transformers`` has no such class, and reads tokenizer.json as it is.
        models: further values of ``model_type`` in config.json that mean it, beside the short name.
    """

    name: str
    like: str
    kind: str
    roles: Mapping[str, str]
    single: str
    pair: str
    first: tuple[str, ...]
    last: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    flags: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    fairseq: int = 0
    model_max_length: int | None = None
    own: bool = False
    models: tuple[str, ...] = ()


def _roles(**names: str) -> dict[str, str]:
    return {f"{role}_token": name for role, name in names.items()}


_BERT = _roles(pad="[PAD]", unk="[UNK]", cls="[CLS]", sep="[SEP]", mask="[MASK]")
_ROBERTA = _roles(
    bos="<s>", eos="</s>", cls="<s>", sep="</s>", pad="<pad>", unk="<unk>", mask="<mask>"
)
_SENTINELS = tuple(f"<extra_id_{number}>" for number in range(99, -1, -1))

# Devlin et al. 2019, section 3.
BERT = Recipe(
    name="BertTokenizer",
    like="bert",
    kind="wordpiece",
    roles=_BERT,
    single="[CLS] $A [SEP]",
    pair="[CLS] $A [SEP] $B:1 [SEP]:1",
    first=("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    options={"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True},
    model_max_length=512,
)
# Liu et al. 2019, section 3; two separators, one segment.
ROBERTA = Recipe(
    name="RobertaTokenizer",
    like="roberta",
    kind="byte_bpe",
    roles=_ROBERTA,
    single="<s> $A </s>",
    pair="<s> $A </s> </s> $B </s>",
    first=("<s>", "<pad>", "</s>", "<unk>"),
    last=("<mask>",),
    options={"add_prefix_space": False},
    model_max_length=512,
)
GPT2 = Recipe(  # Radford et al. 2019, section 2.2
    name="GPT2Tokenizer",
    like="gpt2",
    kind="byte_bpe",
    models=("gpt3",),
    roles=_roles(unk="<|endoftext|>", bos="<|endoftext|>", eos="<|endoftext|>"),
    single="$A",
    pair="$A $B:1",
    first=(),
    last=("<|endoftext|>",),
    options={"add_prefix_space": False},
    model_max_length=1024,
)
GPT1 = Recipe(  # Radford et al. 2018, section 4.1
    name="OpenAIGPTTokenizer",
    like="gpt1",
    kind="word_bpe",
    models=("openai-gpt",),
    roles=_roles(unk="<unk>"),
    single="$A",
    pair="$A $B:1",
    first=("<unk>",),
    model_max_length=512,
)
ALBERT = Recipe(  # Lan et al. 2020, section 4.1
    name="AlbertTokenizer",
    like="albert",
    kind="unigram",
    roles={**_BERT, **_roles(pad="<pad>", unk="<unk>", bos="[CLS]", eos="[SEP]")},
    single="[CLS] $A [SEP]",
    pair="[CLS] $A [SEP] $B:1 [SEP]:1",
    first=("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"),
    options={"do_lower_case": True, "keep_accents": False, "quotes": True},
    model_max_length=512,
)
XLNET = Recipe(  # Yang et al. 2019, section 2.5 and its released code; specials come last
    name="XLNetTokenizer",
    like="xlnet",
    kind="unigram",
    roles={**_ROBERTA, **_roles(cls="<cls>", sep="<sep>")},
    single="$A <sep> <cls>:2",
    pair="$A <sep> $B:1 <sep>:1 <cls>:2",
    first=("<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>"),
    extra=("<eop>", "<eod>"),
    options={"do_lower_case": False, "keep_accents": False, "quotes": True},
    flags={"<mask>": {"lstrip": True}},
)
T5 = Recipe(  # Raffel et al. 2020, section 2.2
    name="T5Tokenizer",
    like="t5",
    kind="unigram",
    models=("mt5",),
    roles=_roles(eos="</s>", unk="<unk>", pad="<pad>"),
    single="$A </s>",
    pair="$A </s> $B </s>",
    first=("<pad>", "</s>", "<unk>"),
    last=_SENTINELS,
    extra=_SENTINELS,
)
XLM_ROBERTA = (
    Recipe(  # Conneau et al. 2020; fairseq's dictionary puts four tokens in place of three
        name="XLMRobertaTokenizer",
        like="xlm-roberta",
        kind="unigram",
        roles=_ROBERTA,
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        first=("<s>", "<pad>", "</s>", "<unk>"),
        last=("<mask>",),
        fairseq=3,
        model_max_length=512,
    )
)
SYLLABLE = replace(
    BERT,
    name="KoCharElectraTokenizer",
    like="syllable",
    kind="syllable",
    options={"lower": False},
    own=True,
)
JAMO = replace(SYLLABLE, name=ANY, like="jamo", kind="jamo")
MORPHEME = replace(JAMO, like="morpheme", kind="morpheme", options={})
WORDS = Recipe(
    name=ANY,
    own=True,
    like="words",
    kind="words",
    roles=_roles(pad="[PAD]", unk="[UNK]"),
    single="$A",
    pair="$A $B:1",
    first=("[PAD]", "[UNK]"),
    options={"lower": False},
)

ALL = (
    BERT,
    replace(BERT, name="ElectraTokenizer", like="electra"),
    replace(BERT, name="DistilBertTokenizer", like="distilbert"),
    ROBERTA,
    replace(ROBERTA, name="BartTokenizer", like="bart"),
    GPT2,
    GPT1,
    XLM_ROBERTA,
    ALBERT,
    XLNET,
    T5,
    SYLLABLE,
    JAMO,
    MORPHEME,
    WORDS,
)


def known(config: Mapping[str, Any]) -> Recipe | None:
    """The recipe that a tokenizer_config.json names, by class (also ``...Fast``) or by our own key."""
    name, like = config.get("tokenizer_class"), config.get(KEY)
    plain = name.removesuffix("Fast") if isinstance(name, str) else ""
    return next((recipe for recipe in ALL if plain == recipe.name or like == recipe.like), None)


def of_model(config: Mapping[str, Any]) -> Recipe | None:
    """The recipe that a model's config.json tells: by the tokenizer's class, else its own family."""
    family = config.get("model_type")
    own = (recipe for recipe in ALL if family in (recipe.like, *recipe.models))
    return known(config) or next(own, None)


def find(name: str) -> Recipe:
    """The recipe with a short name or class name.

    Raises:
        UserError: there is none; the message has the nearest.
    """
    for recipe in ALL:
        if recipe.like == name or (recipe.name == name and name != ANY):
            return recipe
    names = [recipe.like for recipe in ALL]
    raise UserError(f"there is no tokenizer like {name!r}", hint=suggest(name, names))
