"""Whether the parts of a checkpoint agree: config.json, the tokenizer, policy.yaml and conversation.yaml."""

from __future__ import annotations

from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.conversation_config import ConversationConfig
from spatialbot_policy.errors import CheckpointError
from spatialbot_policy.model.configuration import SpatialBotConfig
from spatialbot_policy.model.processor import SpatialBotProcessor

Pairs = dict[str, tuple[object, object]]


def check_parts(
    config: SpatialBotConfig,
    processor: SpatialBotProcessor,
    policy: PolicyConfig | None,
    conversation: ConversationConfig | None,
    where: str,
) -> None:
    """Compare what config.json, the tokenizer and the YAML files say of the same thing.

    Raises:
        CheckpointError: lists every disagreement, or there is neither kind of promise.
    """
    pairs = _agreement(config, processor)
    if policy is not None:
        pairs |= _policy_agreement(config, processor, policy)
    elif conversation is None:
        raise CheckpointError(
            f"the checkpoint {where} needs a policy or a conversation configuration; pass one"
        )
    if conversation is not None:
        pairs |= _conversation_agreement(config, processor, conversation)
    wrong = [f"{what}: {first} and {second}" for what, (first, second) in pairs.items() if first != second]
    if wrong:
        raise CheckpointError(
            f"the parts of the checkpoint {where} disagree: {'; '.join(wrong)}. Take all files from one "
            "save, or train with one policy configuration"
        )


def _agreement(config: SpatialBotConfig, processor: SpatialBotProcessor) -> Pairs:
    """What every checkpoint says twice."""
    tokenizer, rows = processor.tokenizer, config.text_config.vocab_size
    return {
        "action tokens of config.json and the tokenizer": (config.action_bins, processor.action_bins),
        "image token of config.json and the tokenizer": (
            config.image_token_id,
            tokenizer.convert_tokens_to_ids("<image>"),
        ),
        "tokens per image of config.json and processor_config.json": (
            config.vision_config.tokens_per_image,
            processor.tokens_per_image,
        ),
        "vocabulary of config.json and the tokenizer": (max(rows, len(tokenizer)), rows),
    }


def _policy_agreement(
    config: SpatialBotConfig, processor: SpatialBotProcessor, policy: PolicyConfig
) -> Pairs:
    """What policy.yaml says too."""
    variant = None if policy.depth_variant is None else policy.depth_variant.value
    cameras = [f"{camera.name} {camera.width}x{camera.height}" for camera in policy.cameras]
    return {
        "action bins of config.json and policy.yaml": (config.action_bins, policy.action_space.bins),
        "depth variant of config.json and policy.yaml": (config.vision_config.depth_variant, variant),
        "cameras of config.json and policy.yaml": (config.cameras or cameras, cameras),
        "history length of config.json and policy.yaml": (
            config.history_length or policy.history_length,
            policy.history_length,
        ),
        "kind of action of config.json and policy.yaml": (
            config.action_kind or policy.action_space.kind,
            policy.action_space.kind,
        ),
        "first action token of config.json and the tokenizer": (
            config.first_action_token_id,
            processor.first_action_token_id,
        ),
    }


def _conversation_agreement(
    config: SpatialBotConfig, processor: SpatialBotProcessor, conversation: ConversationConfig
) -> Pairs:
    """What conversation.yaml says too: the texts of its tokens, and the image size of a pretrained tower."""
    tower, tokenizer = config.vision_config, processor.tokenizer
    width, height = conversation.image_width, conversation.image_height
    side = getattr(tower, "image_size", None)
    texts = [text for text in (conversation.template.begin, conversation.template.end) if text]
    known = [text for text in texts if text in tokenizer.get_vocab()]
    return {
        "image size of config.json and conversation.yaml": (
            f"{side}x{side}" if isinstance(side, int) else f"{width}x{height}",
            f"{width}x{height}",
        ),
        "begin and end tokens of conversation.yaml and the tokenizer": (texts, known),
    }
