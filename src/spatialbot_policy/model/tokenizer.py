"""The tokenizer of the `tiny` size: byte-level BPE with image and action tokens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from spatialbot_policy.action_space import ActionSpace

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
