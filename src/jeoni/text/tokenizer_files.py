"""Reading and writing tokenizer folders: ``tokenizer.json``, or the files a tokenizer was published as.

Whatever a folder holds, it is brought into one form, the content of a ``tokenizer.json``, which the
Rust library reads; so there is one way in, and every check is made here, on plain data.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jeoni.base.errors import UserError
from jeoni.base.files import read_json, replacing, write_json, write_text
from jeoni.text import checks, recipes, spec, vocab_files
from jeoni.text import kind as kinds
from jeoni.text.kinds.unigram import CHARSMAP, charsmap
from jeoni.text.kinds.wordpiece import SETTINGS
from jeoni.text.recipes import ANY, BERT, KEY, ROLES, Recipe
from jeoni.text.spec import JSON
from jeoni.text.template import Template

FILE, CONFIG, MODEL = "tokenizer.json", "tokenizer_config.json", "config.json"

PUBLISHED = frozenset(
    {"vocab.txt", "vocab.json", "merges.txt", "added_tokens.json"}
    | {"spiece.model", "sentencepiece.bpe.model", "tokenizer.model"}
)
"""Further files that a tokenizer can have: of another one, they do not belong beside these."""
# Where the folder came from, and the padding and truncation last used with it: not worth keeping.
_STALE = """
    name_or_path special_tokens_map_file tokenizer_file vocab_file merges_file is_local backend
    local_files_only max_length stride truncation_side truncation_strategy padding_side
    pad_to_multiple_of pad_token_type_id
"""


@dataclass(frozen=True)
class TokenizerFiles:
    """A tokenizer as plain data.

    Attributes:
        spec: content of a ``tokenizer.json``, without truncation and padding.
        config: content of ``tokenizer_config.json``.
        roles: special token by role (``pad_token``, ...); roles without a token are left out.
        source: the file that it was read from, for messages.
        recipe: the published tokenizer that it is one of, if that is known.
    """

    spec: dict[str, Any]
    config: dict[str, Any]
    roles: dict[str, str]
    source: Path
    recipe: Recipe | None = None


def present(folder: Path) -> bool:
    """Whether there are files of a tokenizer, of whatever kind, in a folder."""
    names = {recipe.kind for recipe in recipes.ALL}
    return (folder / FILE).exists() or any(
        kinds.original_files(folder, kinds.find(name)) for name in names
    )


def readable(folder: Path) -> bool:
    """Whether ``read_folder`` finds a tokenizer there without being told what it is."""
    return (folder / FILE).exists() or _originals(folder, _read_config(folder)) is not None


def read_folder(folder: Path, like: str | None = None) -> TokenizerFiles:
    """Read ``tokenizer.json`` if it is there, else original files; see ``Tokenizer.from_folder``."""
    config = _read_config(folder)
    asked = recipes.find(like) if like else None
    if (folder / FILE).exists():
        return _read_spec(folder / FILE, config, recipes.known(config))
    if found := _originals(folder, config, asked):
        return read_original(found[0], config, found[1])
    if present(folder):
        unlike = f"none that is like {like!r}" if like else "nothing says of which"
        raise UserError(
            f"{folder} has the files of a tokenizer, but {unlike}",
            hint=f"name it (like='gpt2', --like gpt2), or its tokenizer_class in {CONFIG}",
        )
    searched = f"{FILE}, vocab.txt, vocab.json and merges.txt, and *.model"
    raise UserError(f"no tokenizer in {folder}", hint=f"looked for {searched} there")


def _originals(
    folder: Path, config: Mapping[str, Any], asked: Recipe | None = None
) -> tuple[Path, Recipe] | None:
    """The first of the original files, and what they are: by their folder, as asked, or by the model."""
    wanted = recipes.known(config) or asked
    if wanted is None and (folder / MODEL).exists():
        wanted = recipes.of_model(checks.mapping(read_json(folder / MODEL), folder / MODEL))
    for candidate in (wanted, BERT):
        if candidate and (found := kinds.original_files(folder, kinds.find(candidate.kind))):
            return found[0], candidate
    return None


def read_original(path: Path, config: Mapping[str, Any], recipe: Recipe) -> TokenizerFiles:
    """A tokenizer from the files that it was published as; ``path`` is the first of them."""
    recipe = _with_sentinels(recipe, config)
    kind = kinds.find(recipe.kind)
    assert kind.read is not None  # it has original files
    named = {role: checks.configured_token(config, role, path) for role in ROLES}
    unk = named["unk_token"] or recipe.roles["unk_token"]
    model, found = kind.read(path, recipe, unk)
    vocab = checks.vocabulary({"model": model}, path)
    if recipe.kind == BERT.kind and " " in vocab:  # words have no blanks in them, KoCharELECTRA has
        return read_original(path, config, recipes.SYLLABLE)
    roles = checks.find_roles(vocab, config, path, checks.usual_names(recipe))
    if recipe.kind == BERT.kind:
        checks.require(roles, path)
        model["unk_token"] = roles["unk_token"]
    return assemble(recipe, model, {**found, **config}, roles, path)


def assemble(
    recipe: Recipe,
    model: JSON,
    config: Mapping[str, Any],
    roles: Mapping[str, str],
    path: Path,
    *,
    before: JSON | None = None,
) -> TokenizerFiles:
    """Everything around a model: pipeline, template, special tokens.

    Args:
        recipe: says what they are.
        model: of tokenizer.json.
        config: options; ``added`` are further special tokens.
        roles: special token by role.
        path: for messages.
        before: a normalizer in front of the recipe's own.
    """
    config = dict(config)
    special = {token["content"]: token for token in config.pop("added", ())}
    vocab = checks.vocabulary({"model": model}, path)
    extra = (name for name in recipe.extra if name not in special)
    for name in (*roles.values(), *extra):
        if name in vocab:
            special[name] = spec.added(name, vocab[name], **recipe.flags.get(name, {}))
    parts = kinds.find(recipe.kind).pipeline({**recipe.options, **config})
    if before is not None:
        rest = [parts["normalizer"]] if parts["normalizer"] else []
        parts |= spec.pipeline([before, *rest], [parts["pre_tokenizer"]], [parts["decoder"]])
    processor = _template(recipe, roles, vocab, path)
    ordered = sorted(special.values(), key=lambda token: int(token["id"]))
    config.pop(CHARSMAP, None)
    whole = spec.whole(model, parts, processor, ordered)
    return TokenizerFiles(whole, config, dict(roles), path, recipe)


def write_folder(files: TokenizerFiles, folder: Path, *, spec_text: str) -> None:
    """Write what ``read_folder`` and ``transformers.AutoTokenizer`` read, and the original files."""
    config = {key: value for key, value in files.config.items() if key not in _STALE.split()}
    recipe, model = files.recipe, files.spec["model"]
    if model.get("type") == "WordPiece":
        recipe = recipe or BERT
        normalizer = files.spec.get("normalizer") or {}
        config |= {key: normalizer[inner] for key, inner, _ in SETTINGS if inner in normalizer}
    originals: dict[str, bytes] = {}
    if recipe is not None:
        config = {**recipe.options, **config}
        kind, rebuilt = kinds.find(recipe.kind), _as_rebuilt(files, recipe, config)
        config["tokenizer_class"] = recipe.name if rebuilt and not recipe.own else ANY
        config |= {KEY: recipe.like} if config["tokenizer_class"] == ANY else {}
        originals = kind.write(files.spec, recipe) if kind.write and rebuilt else {}
    config.setdefault("tokenizer_class", ANY)
    write_text(folder / FILE, spec_text + "\n")
    write_json(folder / CONFIG, dict(sorted((config | files.roles).items())))
    write_json(folder / "special_tokens_map.json", dict(sorted(files.roles.items())))
    for name, content in originals.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)


def _as_rebuilt(files: TokenizerFiles, recipe: Recipe, config: Mapping[str, Any]) -> bool:
    """Whether the recipe alone gives the same: the classes of ``transformers`` take but the vocabulary."""
    options = {**recipe.options, CHARSMAP: charsmap(files.spec.get("normalizer")), **config}
    if not spec.same_pipeline(kinds.find(recipe.kind).pipeline(options), files.spec):
        return False
    vocab = checks.vocabulary(files.spec, files.source)
    try:
        expected = _template(recipe, files.roles, vocab, files.source)
    except UserError:
        return False
    own = files.spec.get("post_processor")
    return all(Template(own, n).parts == Template(expected, n).parts for n in (1, 2))


def _read_config(folder: Path) -> dict[str, Any]:
    """``tokenizer_config.json`` over ``special_tokens_map.json``; either may be absent."""
    config: dict[str, Any] = {}
    for name in ("special_tokens_map.json", CONFIG):
        path = folder / name
        if path.exists():
            values = checks.mapping(read_json(path), path)
            checks.check_config(values, path)
            # A null special token is one that is not named; a null strip_accents has a meaning.
            config |= {k: v for k, v in values.items() if v is not None or k not in ROLES}
    return config


def _read_spec(path: Path, config: dict[str, Any], recipe: Recipe | None) -> TokenizerFiles:
    content = checks.mapping(read_json(path), path)
    model = content.get("model")
    if not isinstance(model, dict) or not model.get("vocab"):
        raise UserError(f"{path}: no vocabulary (key model.vocab)", hint="is the file whole?")
    content |= {"truncation": None, "padding": None}
    vocab = checks.vocabulary(content, path)
    named = {"unk_token": model.get("unk_token")} | config
    roles = checks.find_roles(vocab, named, path, checks.usual_names(recipe))
    # Old files do not name the kind of model; only WordPiece has a prefix for word continuations.
    guess = "WordPiece" if "continuing_subword_prefix" in model else ""
    if model.get("type", guess) == "WordPiece":
        model["type"] = "WordPiece"
        vocab_files.check_ids(model["vocab"], path)
        checks.require(roles, path)
        model["unk_token"] = roles["unk_token"]
        # A freshly trained file has no template yet; without one [CLS] and [SEP] would be missing.
        own = content.get("post_processor")
        content["post_processor"] = own or _template(BERT, roles, vocab, path)
    checks.check_template(content.get("post_processor"), vocab, path)
    return TokenizerFiles(_configured(content, config), config, roles, path, recipe)


def _configured(content: dict[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Let what is written in ``tokenizer_config.json`` win, as it does in ``transformers``."""
    normalizer, words = content.get("normalizer"), content.get("pre_tokenizer")
    if isinstance(normalizer, dict) and "lowercase" in normalizer:
        changes = {inner: config[key] for key, inner, _ in SETTINGS if key in config}
        content["normalizer"] = normalizer | changes
    if isinstance(words, dict) and words.get("type") == "ByteLevel":
        changes = {key: config[key] for key in ("add_prefix_space",) if key in config}
        content["pre_tokenizer"] = words | changes
    return content


def _with_sentinels(recipe: Recipe, config: Mapping[str, Any]) -> Recipe:
    """T5 with another number of sentinels than usual."""
    if "extra_ids" not in config or recipe.last != recipe.extra:
        return recipe
    names = tuple(f"<extra_id_{i}>" for i in range(config["extra_ids"] - 1, -1, -1))
    return replace(recipe, last=names, extra=names)


def _template(
    recipe: Recipe, roles: Mapping[str, str], vocab: Mapping[str, int], path: Path
) -> JSON:
    """The recipe's template, with the tokens that this vocabulary has in the recipe's roles."""
    own = {name: roles.get(role, name) for role, name in recipe.roles.items()}
    single, pair = (
        " ".join(spec.renamed(place, own) for place in template.split(" "))
        for template in (recipe.single, recipe.pair)
    )
    missing = sorted(spec.template_tokens(pair) - vocab.keys())
    if missing:
        raise UserError(f"{path}: no {missing[0]} in the vocabulary", hint=f"is it {recipe.like}?")
    return spec.template(single, pair, vocab)
