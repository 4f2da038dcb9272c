"""The policy network: image tokens and prompt through a causal language model to action tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from transformers.cache_utils import Cache
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import ModelOutput
from transformers.modeling_utils import PreTrainedModel

from spatialbot_policy.errors import FrameError
from spatialbot_policy.model.configuration import SpatialBotConfig
from spatialbot_policy.model.loss import IGNORE, answer_loss
from spatialbot_policy.model.projector import Mlp2xGeluProjector
from spatialbot_policy.model.vision_tower import as_tower, build_tower


@dataclass
class SpatialBotOutput(ModelOutput):
    """What `SpatialBotForActionPrediction.forward` returns.

    Attributes:
        loss: mean over the answer tokens, when labels were given.
        logits: (B, L, V), or (answer tokens, V) in reading order when only those were asked for.
        past_key_values: the cache, when `use_cache`.
        answer_states: (answer tokens, hidden) from which each answer token is predicted, in reading order,
            when they were asked for.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: Cache | None = None
    answer_states: Tensor | None = None


class SpatialBotForActionPrediction(PreTrainedModel, GenerationMixin):
    """Vision tower, projector and causal language model; the answer is one token per action dimension."""

    config_class = SpatialBotConfig
    base_model_prefix = "language_model"
    main_input_name = "input_ids"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _skip_keys_device_placement = ["past_key_values"]
    _keep_in_fp32_modules_strict = ["vision_tower", "projector"]

    def __init__(self, config: SpatialBotConfig) -> None:
        super().__init__(config)
        self.vision_tower = build_tower(config.vision_config)
        self.projector = Mlp2xGeluProjector(config.vision_config.hidden_size, config.text_config.hidden_size)
        self.language_model = AutoModelForCausalLM.from_config(config.text_config)
        if not as_tower(self.vision_tower).float32_only:
            self._keep_in_fp32_modules_strict = ["projector"]
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if module is self.vision_tower or module is self.projector:
            cast(Any, module).reset_parameters()

    def get_input_embeddings(self) -> nn.Module:
        """The language model's token embeddings."""
        return cast(nn.Module, self.language_model.get_input_embeddings())

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the language model's token embeddings."""
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """The language model's head."""
        return cast(nn.Module, self.language_model.get_output_embeddings())

    def encode_images(self, pixel_values: Tensor) -> Tensor:
        """Encode images into the language model's space, so that a caller can keep or gather them.

        Args:
            pixel_values: (N, 3, H, W) uint8, each colour image followed by its depth image.

        Returns:
            (N, tokens_per_image, hidden) image embeddings for `forward(image_embeds=...)`.
        """
        return self.embed_features(as_tower(self.vision_tower).frame_features(pixel_values))

    def embed_features(self, frame_features: Tensor) -> Tensor:
        """(frames, F) of the tower's `frame_features` -> (N, tokens_per_image, hidden) embeddings."""
        return cast(Tensor, self.projector(as_tower(self.vision_tower).tokens(frame_features)))

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        image_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        loss_weights: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        answer_logits_only: bool = False,
        output_answer_states: bool = False,
        **kwargs: Any,
    ) -> SpatialBotOutput:
        """Predict the next tokens of prompts with images.

        Args:
            input_ids: (B, L) with `image_token_id` at every image token.
            pixel_values: (N, 3, H, W) uint8, the images of all prompts in reading order.
            attention_mask: (B, L), 0 = padding.
            position_ids: (B, L); counted from the attention mask when absent.
            past_key_values: cache of the tokens before these.
            inputs_embeds: (B, L, hidden) instead of input_ids.
            image_embeds: (..., hidden) from `encode_images`, in reading order, instead of pixel_values.
            labels: (B, L), -100 everywhere but on answer tokens.
            loss_weights: (B,) or (B, L) weights of the answer tokens' losses.
            logits_to_keep: number of last positions to compute logits for; 0 = all.
            answer_logits_only: compute logits for the answer tokens alone (needs labels).
            output_answer_states: also return the hidden states behind the answer tokens (needs labels).
            **kwargs: passed to the language model.

        Raises:
            FrameError: images and image tokens do not agree in number.
        """
        if inputs_embeds is None:
            if input_ids is None:
                raise FrameError("forward needs input_ids or inputs_embeds; call SpatialBotProcessor")
            if labels is not None and self.config.action_decoding == "parallel":
                input_ids = self.config.hide_actions(input_ids, labels)
            inputs_embeds = self.embed(input_ids, pixel_values, image_embeds)
        if position_ids is None and attention_mask is not None and attention_mask.ndim == 2:
            position_ids = (attention_mask.long().cumsum(1) - 1).clamp(min=0)[:, -inputs_embeds.shape[1] :]
        outputs = self.language_model.get_decoder()(
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
        hidden: Tensor = outputs.last_hidden_state
        loss, logits, states = None, None, None
        head = self.get_output_embeddings()
        if labels is not None:
            chosen = labels[:, 1:] != IGNORE
            states = hidden[:, :-1][chosen]
            logits = head(states)
            weights = None if loss_weights is None else _per_token(loss_weights, labels)[:, 1:][chosen]
            loss = answer_loss(logits, labels[:, 1:][chosen], self.config, weights)
        if not (answer_logits_only and labels is not None):
            if isinstance(logits_to_keep, int):
                hidden = hidden[:, -logits_to_keep:] if logits_to_keep else hidden
            else:
                hidden = hidden[:, logits_to_keep]
            logits = head(hidden)
        return SpatialBotOutput(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            answer_states=states if output_answer_states else None,
        )

    def embed(
        self,
        input_ids: Tensor,
        pixel_values: Tensor | None = None,
        image_embeds: Tensor | None = None,
    ) -> Tensor:
        """(B, L, hidden) token embeddings with the images' in the image tokens' places; as `forward`.

        Raises:
            FrameError: images and image tokens do not agree in number.
        """
        embeds: Tensor = self.get_input_embeddings()(input_ids)
        if image_embeds is None:
            if pixel_values is None:
                return embeds
            image_embeds = self.encode_images(pixel_values)
        slots = input_ids == self.config.image_token_id
        count, given = int(slots.sum()), image_embeds[..., 0].numel()
        if count != given:
            raise FrameError(
                f"the prompts hold {count} image tokens, but the images give {given}; pass the images of "
                "all prompts in reading order, as SpatialBotProcessor returns them"
            )
        return embeds.masked_scatter(slots[..., None], image_embeds.to(embeds.dtype))

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, *args: Any, is_first_iteration: bool | None = False, **kwargs: Any
    ) -> dict[str, Any]:
        """Hand the images to the prefill alone; with a cache, later steps hold no image tokens."""
        inputs = super().prepare_inputs_for_generation(
            input_ids, *args, is_first_iteration=is_first_iteration, **kwargs
        )
        if not is_first_iteration and kwargs.get("use_cache", True):
            inputs["pixel_values"] = inputs["image_embeds"] = None
        return cast(dict[str, Any], inputs)


def _per_token(weights: Tensor, labels: Tensor) -> Tensor:
    """(B,) or (B, L) weights -> (B, L)."""
    return weights[:, None].expand_as(labels) if weights.ndim == 1 else weights
