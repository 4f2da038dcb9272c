"""The network: images and prompt to action tokens, in Hugging Face form.

In order: `processor` (prompt and images to tensors, `turn_tokens` for conversations; `tokenizer` learned
or a language model's own),
`vision_tower` (the seam; `conv_tower` with the depth images that `depth_planes` decodes, and
`pretrained_tower` for CLIP, SigLIP and DINOv2), `projector`
(tower tokens to embeddings), `modeling` (the language model, `loss`, constrained decoding),
`configuration` (all of it in `config.json`), `sizes` (config/model/*.yaml), `factory` (a size becomes a
network, `start_weights` from pretrained directories), `checkpoint` (directories; `released` reads
and `released_export` writes those of the authors).
"""

from spatialbot_policy.model.checkpoint import load_checkpoint, save_checkpoint
from spatialbot_policy.model.configuration import SpatialBotConfig
from spatialbot_policy.model.factory import build_model, build_tiny
from spatialbot_policy.model.modeling import SpatialBotForActionPrediction, SpatialBotOutput
from spatialbot_policy.model.processor import SpatialBotProcessor
from spatialbot_policy.model.sizes import ModelSize, load_size
from spatialbot_policy.model.start_weights import StartWeights
from spatialbot_policy.model.tokenizer import train_tokenizer

__all__ = [
    "ModelSize",
    "SpatialBotConfig",
    "SpatialBotForActionPrediction",
    "SpatialBotOutput",
    "SpatialBotProcessor",
    "StartWeights",
    "build_model",
    "build_tiny",
    "load_checkpoint",
    "load_size",
    "save_checkpoint",
    "train_tokenizer",
]
