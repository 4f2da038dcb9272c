"""The network: images and prompt to action tokens, in Hugging Face form.

In order: `processor` (prompt and images to tensors; `tokenizer` for the `tiny` size), `vision_tower`
(the seam; `conv_tower` is the one tower so far, `depth_planes` decodes its depth images), `projector`
(tower tokens to embeddings), `modeling` (the language model, `loss`, constrained decoding),
`configuration` (all of it in `config.json`), `factory` (sizes by name), `checkpoint` (directories).
"""

from spatialbot_policy.model.checkpoint import load_checkpoint, save_checkpoint
from spatialbot_policy.model.configuration import SpatialBotConfig
from spatialbot_policy.model.factory import build_tiny, tiny_config
from spatialbot_policy.model.modeling import SpatialBotForActionPrediction, SpatialBotOutput
from spatialbot_policy.model.processor import SpatialBotProcessor
from spatialbot_policy.model.tokenizer import train_tokenizer

__all__ = [
    "SpatialBotConfig",
    "SpatialBotForActionPrediction",
    "SpatialBotOutput",
    "SpatialBotProcessor",
    "build_tiny",
    "load_checkpoint",
    "save_checkpoint",
    "tiny_config",
    "train_tokenizer",
]
