"""Training: episodes and conversations to examples, batches, steps and a checkpoint.

In order: `recipe` (what to train: `data_config`, `parts`, `schedule`), `run_sources` (opens the data:
`episode_cache` and `frame_store`, `conversation_data`), `examples` and `collate` (one batch, each frame
once), `batches` and `mixture` (which examples a step sees), `batch_parts` (its share for each process),
`network` (where the weights start), `learner` (losses), `loop` (transformers' Trainer), `trainer` (a run
from first to last step), `validation`, `state`, `results` and `adapter` (what it leaves behind),
`distributed` (several processes).
"""
