"""Released tensors brought to the model that is built from them, every one accounted for."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from spatialbot_policy.errors import CheckpointError
from spatialbot_policy.model.configuration import SpatialBotConfig
from spatialbot_policy.model.modeling import SpatialBotForActionPrediction
from spatialbot_policy.model.pretrained_tower import PretrainedTowerConfig
from spatialbot_policy.model.released_files import Tensors, listed
from spatialbot_policy.model.released_layout import EMBEDDING, HEAD, HEAD_BIAS, is_unread, released_name


class Fitting:
    """Brings the tensors to the model that is built, and keeps account of what was left out and added."""

    def __init__(self, tensors: Tensors, place: Path) -> None:
        self.tensors = dict(tensors)
        self.left_out: list[str] = []
        self.added: list[str] = []
        self._place = place

    def drop_unread(self, tower: PretrainedTowerConfig) -> None:
        """Leave out the vision layers above the one that is read; the released code drops them too."""
        for name in [name for name in self.tensors if is_unread(name, tower)]:
            self.left_out.append(released_name(name))
            del self.tensors[name]

    def fit_vocabulary(self, own: int, tokens: int, has_bias: bool) -> None:
        """Give every token one row: spare rows go, as in the released loader, and `<image>` gets one.

        The row of `<image>` is never read, as images take its place, and the token is never generated.

        Args:
            own: tokens of the released tokenizer.
            tokens: tokens of ours.
            has_bias: whether the head that is built has a bias.

        Raises:
            CheckpointError: fewer rows than the released tokenizer has tokens.
        """
        for name in (EMBEDDING, HEAD):
            if name in self.tensors:
                self.tensors[name] = self._fit_rows(name, self.tensors[name], own, tokens)
        if HEAD_BIAS in self.tensors:
            # The released models have a head without bias, and drop the one that Phi-2 was published with.
            self.left_out.append(released_name(HEAD_BIAS))
            del self.tensors[HEAD_BIAS]
        if has_bias and EMBEDDING in self.tensors:
            self.tensors[HEAD_BIAS] = torch.zeros(tokens, dtype=self.tensors[EMBEDDING].dtype)
            self.added.append(f"{released_name(HEAD_BIAS)} = 0: the released head has no bias")

    def _fit_rows(self, name: str, tensor: Tensor, own: int, tokens: int) -> Tensor:
        if tensor.ndim != 2 or tensor.shape[0] < own:
            raise CheckpointError(
                f"{self._place}: {released_name(name)} has {tensor.shape[0]} rows for a tokenizer of {own} "
                "tokens; take the tokenizer files that belong to the weights"
            )
        if tensor.shape[0] > own:
            self.left_out.append(f"{released_name(name)}[{own}:{tensor.shape[0]}], rows of no token")
        if tokens > own:
            self.added.append(f"{released_name(name)}[{own}] = 0: the row of <image>")
        return torch.cat([tensor[:own], tensor.new_zeros(tokens - own, tensor.shape[1])])


def assemble(config: SpatialBotConfig, tensors: Tensors, place: Path) -> SpatialBotForActionPrediction:
    """The model with these tensors in it, in their own precision.

    Raises:
        CheckpointError: tensors that are missing, unknown or of another shape; all are named.
    """
    with torch.device("meta"):
        model = SpatialBotForActionPrediction(config)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if config.tie_word_embeddings:
        del wanted[HEAD]
        head = tensors.pop(HEAD, None)
        if head is not None and not torch.equal(head, tensors.get(EMBEDDING, head)):
            raise CheckpointError(
                f"{place}: config.json ties the head to the embeddings, but {released_name(HEAD)} differs; "
                "take both from one download"
            )
    _check_tensors(wanted, tensors, place)
    model.load_state_dict(tensors, strict=False, assign=True)
    model.tie_weights()
    model.generation_config.suppress_tokens = [config.image_token_id]
    return model


def _check_tensors(wanted: dict[str, tuple[int, ...]], tensors: Tensors, place: Path) -> None:
    problems = {
        "missing": wanted.keys() - tensors.keys(),
        "unknown": tensors.keys() - wanted.keys(),
    }
    lines = [
        f"{len(names)} {kind}: {listed(released_name(name) for name in names)}"
        for kind, names in problems.items()
        if names
    ]
    shapes = {name: tuple(tensors[name].shape) for name in tensors.keys() & wanted.keys()}
    wrong = [
        f"{released_name(name)} {shapes[name]} instead of {wanted[name]}"
        for name in shapes
        if shapes[name] != wanted[name]
    ]
    if wrong:
        lines.append(f"{len(wrong)} of another shape: {listed(wrong)}")
    if lines:
        raise CheckpointError(
            f"the tensors of {place} are not those of its config.json: {'; '.join(lines)}. Take all files "
            "from one download (another tower than the published one: --vision-tower)"
        )
