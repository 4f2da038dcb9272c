"""What is trained: the network with the auxiliary heads, their losses, and validation's answers."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spatialbot_policy.inference import ActionDecoder
from spatialbot_policy.model import SpatialBotForActionPrediction
from spatialbot_policy.model.loss import IGNORE
from spatialbot_policy.model.vision_tower import as_tower
from spatialbot_training.collate import Batch
from spatialbot_training.distributed import layers_gathered
from spatialbot_training.intention import IntentionHead, intention_loss
from spatialbot_training.localisation import LocalisationHead, localisation_loss

_ROTATIONS = (3, 4, 5)  # of an action's dimensions


class Totals(NamedTuple):
    """What the losses of a whole batch are divided by, over all its parts and processes.

    Attributes:
        answers: sum of the weights of the answer tokens.
        located: number of known localisation answers.
        meant: number of known answers to what the words mean.
    """

    answers: float
    located: float
    meant: float = 0.0


class Answers(NamedTuple):
    """What a learner says of B prompts over M distinct frames.

    Attributes:
        bins: (B, dimensions) of the actions.
        located: (M, A) localisation answers; None without a head for them.
        meant: (B, 5) places that the instructions mean; None without a head for them.
    """

    bins: Tensor
    located: Tensor | None
    meant: Tensor | None


class Learner(nn.Module):
    """The network with the auxiliary heads that are left behind after training.

    Args:
        model: the network that ships.
        rotation_weight: weight of the three rotation tokens' losses against the other tokens'.
        dimensions: tokens of an action, 7 or 8.
        localise: whether there is a head that says where things are.
        intend: whether there is a head that says which object and board the words mean.
    """

    def __init__(
        self,
        model: SpatialBotForActionPrediction,
        rotation_weight: float,
        dimensions: int = 7,
        localise: bool = True,
        intend: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.head = LocalisationHead(model.config.vision_config.frame_feature_size) if localise else None
        self.intention = IntentionHead(model.config.text_config.hidden_size) if intend else None
        self._rotation_weight, self._dimensions = rotation_weight, dimensions

    def forward(
        self, batch: Batch, localise_only: bool = False, totals: Totals | None = None
    ) -> tuple[Tensor, ...]:
        """Losses of a batch, or of one part of it.

        Args:
            batch: what to learn from.
            localise_only: leave the language model out.
            totals: of the whole batch that this is a part of; None when it is the whole.

        Returns:
            loss of the answers (0 when `localise_only`) and of localisation (0 without a head); and, where
            there is a head for it, of what the words mean (0 when `localise_only`). The losses of all parts
            of a batch add up to those of the batch.
        """
        own = self.totals(batch) if totals is None else self.totals(batch, localise_only)
        share = own if totals is None else totals
        features = self._features(batch)
        where = features.new_zeros(())
        if self.head is not None:
            answers = self.locate(features, batch)
            where = localisation_loss(answers, batch.targets) * (own.located / max(share.located, 1.0))
        if localise_only:
            nothing = torch.zeros_like(where)
            return (nothing, where) if self.intention is None else (nothing, where, nothing)
        embeds = self.model.embed_features(features)
        output = self.model(
            **batch.inputs,
            image_embeds=batch.gather(embeds),
            loss_weights=self.token_weights(batch),
            answer_logits_only=True,
            output_answer_states=self.intention is not None,
            use_cache=False,
        )
        answer = output.loss * (own.answers / share.answers) + self._unused(batch, embeds)
        if self.intention is None:
            return answer, where
        prompts, places = self._action_places(batch)
        meant = intention_loss(self.intention(output.answer_states[places]), batch.meant[prompts])
        return answer, where, meant * (own.meant / max(share.meant, 1.0))

    def totals(self, batch: Batch, localise_only: bool = False) -> Totals:
        """What this batch adds to the totals of the whole."""
        located = float((~torch.isnan(batch.targets)).sum()) if self.head is not None else 0.0
        if localise_only:
            return Totals(0.0, located)
        answered = batch.inputs["labels"][:, 1:] != IGNORE
        weight = float(self.token_weights(batch)[:, 1:][answered].double().sum())
        if self.intention is None:
            return Totals(weight, located)
        prompts, _ = self._action_places(batch)
        return Totals(weight, located, float((~torch.isnan(batch.meant[prompts])).sum()))

    def _action_places(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Of each action token in reading order: (P,) its prompt, and (P,) its place among answer tokens."""
        labels, actions = batch.inputs["labels"][:, 1:], self.model.config.action_token_slice
        prompts, columns = (labels != IGNORE).nonzero(as_tuple=True)
        tokens = labels[prompts, columns]
        places = ((tokens >= actions.start) & (tokens < actions.stop)).nonzero()[:, 0]
        return prompts[places], places

    def answer(self, batch: Batch, prompts: dict[str, Tensor]) -> Answers:
        """Decode the actions that a batch's prompts ask for, and let the auxiliary heads answer.

        Args:
            batch: its images; its inputs are read for what the words mean alone, where the position that
                predicts an answer's first token sees nothing of the answer.
            prompts: `input_ids` and `attention_mask` of the prompts without answers.
        """
        features = self._features(batch)
        embeds = self.model.embed_features(features)
        asked = {**prompts, "image_embeds": batch.gather(embeds)}
        with layers_gathered(self):
            bins = ActionDecoder(self.model).decode(asked, self._dimensions)
        located = None if self.head is None else self.locate(features, batch)
        return Answers(bins, located, self._intend(batch, embeds))

    def _intend(self, batch: Batch, embeds: Tensor) -> Tensor | None:
        """(B, 5) places that the words mean, read where each prompt's action begins."""
        if self.intention is None:
            return None
        output = self.model(
            **batch.inputs,
            image_embeds=batch.gather(embeds),
            answer_logits_only=True,
            output_answer_states=True,
            use_cache=False,
        )
        prompts, places = self._action_places(batch)
        first = torch.searchsorted(prompts, torch.arange(len(batch.picks), device=prompts.device))
        answers: Tensor = self.intention(output.answer_states[places[first]])
        return answers

    def say(self, batch: Batch, prompts: Tensor, tokens: int) -> Tensor:
        """Go on with a batch's prompts in words, the likeliest first.

        Args:
            batch: its images; what its inputs hold is not looked at.
            prompts: (B, L) ids of prompts of one length.
            tokens: how many to add at most.

        Returns:
            (B, at most `tokens`) ids.
        """
        embeds = self.model.embed_features(self._features(batch))
        said: Tensor = self.model.generate(
            input_ids=prompts,
            attention_mask=torch.ones_like(prompts),
            image_embeds=batch.gather(embeds) if len(batch.slots) else None,
            max_new_tokens=tokens,
            do_sample=False,
            pad_token_id=self.model.config.eos_token_id,
        )
        return said[:, prompts.shape[1] :]

    def locate(self, features: Tensor, batch: Batch) -> Tensor:
        """(tower frames, F) -> (M, A) answers; with several cameras in a frame the first one's."""
        if self.head is None:
            raise RuntimeError("this learner was made without a localisation head")
        per_frame = self.model.config.vision_config.images_per_frame
        answers: Tensor = self.head(features[batch.first_images // per_frame])
        return answers

    def _features(self, batch: Batch) -> Tensor:
        """The tower's features; of an empty image when no prompt has one, so that every part takes part."""
        if batch.features is not None:
            return batch.features
        return as_tower(self.model.vision_tower).frame_features(
            batch.pixel_values if len(batch.pixel_values) else self._empty_frame(batch)
        )

    def _empty_frame(self, batch: Batch) -> Tensor:
        config: Any = self.model.config.vision_config
        side = getattr(config, "image_size", 16)
        return batch.pixel_values.new_zeros((config.images_per_frame, 3, side, side))

    @staticmethod
    def _unused(batch: Batch, embeds: Tensor) -> Tensor | float:
        """Nothing, in which an empty image's embeddings are: processes that wait for each other need it."""
        return embeds.sum() * 0.0 if batch.blind else 0.0

    def token_weights(self, batch: Batch) -> Tensor:
        """(B, L) float32 weights of the tokens: those of the prompts, rotations of actions weigh less."""
        labels, place = batch.inputs["labels"], self.model.config.action_token_slice
        weights = batch.weights[:, None].expand(labels.shape).clone()
        action = (labels >= place.start) & (labels < place.stop)
        dimension = (action.cumsum(1) - 1) % self._dimensions
        rotation = action & (dimension >= _ROTATIONS[0]) & (dimension <= _ROTATIONS[-1])
        weights[rotation] *= self._rotation_weight
        return weights
