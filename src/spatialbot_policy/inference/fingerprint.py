"""What tells one checkpoint from another: a hash over what its answers depend on."""

from __future__ import annotations

import hashlib
import json

import torch

from spatialbot_policy.config import to_dict
from spatialbot_policy.model.checkpoint import Checkpoint


def fingerprint(checkpoint: Checkpoint) -> str:
    """Hex SHA-256 over weights, decoding, policy configuration and tokenizer.

    It does not depend on the device. A checkpoint that is saved and loaded again keeps it.
    """
    digest, seen = hashlib.sha256(), set()
    for name, tensor in sorted(checkpoint.model.state_dict().items()):
        if tensor.data_ptr() in seen:  # tied weights are listed twice
            continue
        seen.add(tensor.data_ptr())
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        flat = tensor.detach().cpu().flatten().contiguous()
        digest.update(memoryview(flat.view(torch.uint8).numpy()))
    for text in (
        checkpoint.model.config.action_decoding,
        json.dumps(to_dict(checkpoint.policy), sort_keys=True, default=str),
        checkpoint.processor.tokenizer.backend_tokenizer.to_str(),
    ):
        digest.update(text.encode())
    return digest.hexdigest()
