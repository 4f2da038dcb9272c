"""Conversations to token ids and labels, with any fast tokenizer."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter

from transformers import PreTrainedTokenizerFast

from spatialbot_policy.conversation import Piece, Turn, write_conversation
from spatialbot_policy.conversation_config import ConversationTemplate
from spatialbot_policy.errors import ConversationError
from spatialbot_policy.model.loss import IGNORE

_PLACEHOLDER = re.compile(r"<image \d+>")

Row = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class _Chunk:
    """Text between two images, and the stretches of its characters that the model is to say."""

    text: str
    learned: tuple[tuple[int, int], ...]


def encode_conversations(
    tokenizer: PreTrainedTokenizerFast,
    conversations: Sequence[Sequence[Turn]],
    template: ConversationTemplate,
    tokens_per_image: int,
) -> list[Row]:
    """Encode conversations in one call of the tokenizer.

    The text is tokenized from image to image as a whole, as the released model's was, and not turn by
    turn: an answer's first token is then the one that the model says after `ASSISTANT:`.

    Returns:
        for each conversation its ids, with `tokens_per_image` image tokens for each placeholder, and its
        labels: the ids of answers and their ends, -100 elsewhere.

    Raises:
        ConversationError: as `write_conversation`, or a turn that holds a special token of the tokenizer.
    """
    groups = [_chunks(write_conversation(turns, template)) for turns in conversations]
    added = tokenizer.get_added_vocab()
    marks = [text for text in (template.begin, template.end) if text in added]
    special = [*tokenizer.all_special_tokens, *marks]
    for turns in conversations:
        _refuse_special(turns, special)
    encoded = _tokenize(tokenizer, [chunk for group in groups for chunk in group if chunk.text])
    image = [tokenizer.convert_tokens_to_ids("<image>")] * tokens_per_image
    rows = []
    for group in groups:
        ids: list[int] = []
        labels: list[int] = []
        for number, chunk in enumerate(group):
            if number:
                ids += image
                labels += [IGNORE] * tokens_per_image
            if chunk.text:
                chunk_ids, chunk_labels = next(encoded)
                ids += chunk_ids
                labels += chunk_labels
        rows.append((tuple(ids), tuple(labels)))
    return rows


def _refuse_special(turns: Sequence[Turn], special: Sequence[str]) -> None:
    """A turn that wrote `<eos>` would end the answer for the model, wherever it stands."""
    for number, turn in enumerate(turns):
        for token in special:
            if token in turn.text:
                raise ConversationError(
                    f"turn {number + 1} holds the special token {token!r}; take it out of the text"
                )


def _chunks(pieces: Sequence[Piece]) -> list[_Chunk]:
    """The text before, between and after the images: one chunk more than there are images."""
    chunks: list[_Chunk] = []
    text, learned = "", []
    for piece in pieces:
        first, *others = _PLACEHOLDER.split(piece.text)
        if piece.learned:  # answers hold no images
            learned.append((len(text), len(text) + len(piece.text)))
        text += first
        for other in others:
            chunks.append(_Chunk(text, tuple(learned)))
            text, learned = other, []
    return [*chunks, _Chunk(text, tuple(learned))]


def _tokenize(
    tokenizer: PreTrainedTokenizerFast, chunks: Sequence[_Chunk]
) -> Iterator[tuple[list[int], list[int]]]:
    """Ids and labels of each chunk; a token is an answer's when its last character is."""
    if not chunks:
        return
    encoded = tokenizer(
        [chunk.text for chunk in chunks],
        add_special_tokens=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
        verbose=False,
    )
    for chunk, ids, spans in zip(chunks, encoded["input_ids"], encoded["offset_mapping"], strict=True):
        labels = [IGNORE] * len(ids)
        for start, end in chunk.learned:
            # by the ends of their spans: some tokenizers trim spaces, and a lone one then spans nothing
            first, behind = (bisect_right(spans, place, key=itemgetter(1)) for place in (start, end))
            labels[first:behind] = ids[first:behind]
        yield ids, labels
