"""Tokenizers with image and action tokens: learned for the `tiny` size, or a language model's own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from spatialbot_policy.action_space import ActionSpace
from spatialbot_policy.errors import ConfigError

PAD, BOS, EOS, IMAGE = "<pad>", "<bos>", "<eos>", "<image>"


def train_tokenizer(
    corpus: Iterable[str], action_space: ActionSpace, vocab_size: int = 512, max_length: int = 512
) -> PreTrainedTokenizerFast:
    """Learn byte-level merges from instructions and prompts.

    Every byte is in the alphabet, so that words that the corpus lacks are split, never lost.

    Args:
        corpus: texts as the model will see them.
        action_space: its token strings become special tokens with consecutive ids.
        vocab_size: text tokens (bytes and merges); the special tokens are added to these.
        max_length: the longest prompt in tokens.

    Returns:
        A fast tokenizer that pads on the left, with `image_token` and `image_token_id`.
    """
    special = [PAD, BOS, EOS, IMAGE, *action_space.token_strings]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size + len(special),
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    options: dict[str, Any] = {"extra_special_tokens": {"image_token": IMAGE}}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        padding_side="left",
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
        **options,
    )


def load_tokenizer(
    directory: str | Path, action_space: ActionSpace | None = None, max_length: int | None = None
) -> PreTrainedTokenizerFast:
    """Read a language model's tokenizer and add `<image>` and the action tokens to it.

    Tokens that it has already, as in a checkpoint of ours, are kept. Without a padding token it pads with
    the token that ends an answer; padding is masked wherever it is used.

    Args:
        directory: local directory with tokenizer.json or what transformers converts to it.
        action_space: its token strings become special tokens with consecutive ids; None adds none.
        max_length: the longest prompt in tokens, if the tokenizer's own limit is larger.

    Raises:
        ConfigError: no tokenizer there, no token that ends an answer, or action tokens in another order.
    """
    # A tokenizer.json says everything; the class that config.json names may ask to run the directory's code.
    cls: Any = PreTrainedTokenizerFast if (Path(directory) / "tokenizer.json").is_file() else AutoTokenizer
    try:
        tokenizer = cls.from_pretrained(
            directory,
            local_files_only=True,
            padding_side="left",
            extra_special_tokens={"image_token": IMAGE},
        )
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise ConfigError(
            f"cannot read a tokenizer in {directory}: {error}; give the directory that holds tokenizer.json"
        ) from error
    if tokenizer.eos_token is None:
        raise ConfigError(f"the tokenizer in {directory} has no eos_token; name one in tokenizer_config.json")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    names = () if action_space is None else action_space.token_strings
    tokenizer.add_tokens(
        [AddedToken(name, special=True, normalized=False) for name in names], special_tokens=True
    )
    ids = tokenizer.convert_tokens_to_ids(list(names))
    if ids and ids != list(range(ids[0], ids[0] + len(ids))):
        raise ConfigError(
            f"the tokenizer in {directory} has some action tokens already, but not these {len(ids)} in a "
            "row; take the language model's own tokenizer, or an action space with the same bins"
        )
    if max_length is not None:
        tokenizer.model_max_length = min(tokenizer.model_max_length, max_length)
    return cast(PreTrainedTokenizerFast, tokenizer)
