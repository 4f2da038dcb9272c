"""Episodes and data sets on disk, file by file; `spatialbot_policy.episode` is the entrance for their users.

Recording, in the order data takes: `topics` names topics and types, `messages` converts to and from CDR
(`cdr`), `intake` looks at what was received and marks what is odd (`marks`), `packed` compresses pictures
(`image_compression`), `mcap_file` appends chunks (`mcap_chunks`, `mcap_chunk`) as long as the disk has room
(`disk_reserve`, `disk_sync`), `writer` records and commits (`finish`, `info`).

Reading: `join` says which messages make one step, of a raw recording `raw`; `decode` and `reader` give
observations or arrays, `pictures` one picture at a time. After a crash `survey` finds what can be read,
`mcap_resume` completes the file, `recovery` makes it an episode.

One episode: `labels`, `relation`, `stats`, `check`, `trim`, `copying`, `trash`, `mcap_rewrite`,
`rerun_recording`. A data set: `dataset` is its contract, `dataset_index` makes listing quick, `dataset_lock`
(`file_lock`) keeps two recorders apart; `dataset_stats`, `dataset_report` (`report_page`), `dataset_split`,
`dataset_merge`.
"""
