"""Korean reading comprehension with a small syllable-level ELECTRA, from random weights or a checkpoint.

python mrc.py train     learn from train.tsv; every epoch's model is kept, dev.tsv chooses the best one
python mrc.py test      answer test.tsv with the best; --model runs/korean_mrc/epochs/3: with the third
"""

import argparse
import sys
from pathlib import Path

import jeoni
from jeoni.data.readers import read
from jeoni.text.training import train as learn

HERE, SMALL, LENGTH = Path(__file__).parent, {"layers": 4, "hidden": 128, "heads": 4}, 512


def train(folder: Path, out: str, epochs: int = 10, model: str = "electra-small") -> None:
    """Two numbers for every syllable: is it the start, is it the end of the answer."""
    new = {}
    if model == "electra-small":  # random weights; a checkpoint has a size and a vocabulary
        rows = [row.fields for row in read(folder / "train.tsv", format="mrc_tsv")]
        texts = [row[name] for row in rows for name in ("question", "context")]
        learn(texts, kind="syllable", vocab_size=3000).save(Path(f"{out}-syllables"))
        new = {"spec": SMALL, "tokenizer": {"path": f"{out}-syllables"}}
    data = {"train": f"{folder}/train.tsv", "dev": f"{folder}/dev.tsv", "format": "mrc_tsv"}
    task = {"name": "span_qa", "max_length": LENGTH}
    steps = {"epochs": epochs, "lr": 5e-4}
    made = jeoni.finetune(
        model=model, data=data, task=task, train=steps, out=out, keep_epochs=True, **new
    )
    print("dev:", *(f"{name} {made.metrics[name]:.1f}" for name in ("exact_match", "f1")))


def test(path: Path, model: str) -> None:
    """Every answer beside the predicted one, as tokens from [CLS] = 0, and how many are the same."""
    guesses = jeoni.predict(model, {"test": str(path), "format": "mrc_tsv"})
    same = 0
    for row, guess in zip(read(path, format="mrc_tsv"), guesses, strict=True):
        gold, first = row.fields, row.fields["tokens"].index("[SEP]") + 1
        answer = gold["start_token"], gold["end_token"]
        predicted = first + guess["start"], first + guess["end"] - 1  # a token is a character
        print("Answer span:", *answer, gold["answers"][0]["text"])
        print("Predicted span:", *predicted, guess["text"])
        print(f"Passage: {gold['context']}\nQuestion: {gold['question']}\n")
        same += answer == predicted
    print(f"{same} of {len(guesses)} spans are the same")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Korean reading comprehension: train and test.")
    parser.add_argument("mode", choices=["train", "test"])
    parser.add_argument("--data", type=Path, default=HERE, help="folder of the three files")
    parser.add_argument("--model", help="to start from, or to test")
    parser.add_argument("--out", default="runs/korean_mrc", help="run folder")
    parser.add_argument("--epochs", type=int, default=10)
    ask = parser.parse_args()
    try:
        if ask.mode == "train":
            train(ask.data, ask.out, ask.epochs, ask.model or "electra-small")
        else:
            test(ask.data / "test.tsv", ask.model or ask.out)
    except jeoni.UserError as error:
        sys.exit(str(error))
