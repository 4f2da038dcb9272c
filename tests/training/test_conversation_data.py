"""Files of conversations: read lazily, checked at the start, and nothing left out in silence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.training.conversation_samples import CONFIG, entry, make_processor, write_file

from spatialbot_policy.conversation import read_entry
from spatialbot_policy.conversation_config import ConversationConfig
from spatialbot_policy.errors import ConversationError
from spatialbot_policy.image_files import ConversationImages
from spatialbot_policy.model import SpatialBotProcessor as Processor
from spatialbot_training.collate import Pick, collate
from spatialbot_training.conversation_data import ConversationExamples, ConversationOptions
from spatialbot_training.conversation_file import ConversationFile

GOOD = [
    entry(["a.png"], "how far is it?", "1357 mm"),
    entry([], "is 2 + 2 four?", "yes"),
    entry(["a.png", "a_d.png"], "and now?", "400 mm", "über what?", "距離"),
    entry(["b.png", "b_d.png", "a.png", "a_d.png"], "which is nearer?", "the first"),
]
SKIP = ConversationOptions(skip_bad=True)


@pytest.fixture(scope="module")
def processor() -> Processor:
    return make_processor()


def test_every_conversation_is_its_turns_and_its_images(tmp_path: Path, processor: Processor) -> None:
    source = ConversationExamples(write_file(tmp_path, GOOD), CONFIG, processor)
    assert len(source) == len(GOOD) and source.skipped == ()
    images = ConversationImages(CONFIG)
    for index, given in enumerate(GOOD):
        example = source.example(index)
        turns, names = read_entry(given)
        assert (example.input_ids, example.labels) == processor.encode_turns(turns, CONFIG.template)
        assert example.frames == tuple((str(tmp_path / name),) for name in names)
        assert source.length(index) == len(example.input_ids)
        for key, name in zip(example.frames, names, strict=True):
            (image,) = source.frame(key)
            assert np.array_equal(image, images.read(tmp_path / name))
            assert source.target(key) is None


def test_images_may_lie_in_another_folder(tmp_path: Path, processor: Processor) -> None:
    file = write_file(tmp_path / "images", GOOD)
    moved = file.rename(tmp_path / "talk.json")
    options = ConversationOptions(folder=tmp_path / "images", weight=0.5)
    source = ConversationExamples(moved, CONFIG, processor, options)
    assert len(source) == len(GOOD) and source.example(0).weight == 0.5
    with pytest.raises(ConversationError, match=r"entry 0: there is no image .*a\.png"):
        ConversationExamples(moved, CONFIG, processor)


def test_images_are_read_when_a_batch_shows_them(
    tmp_path: Path, processor: Processor, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(
        "spatialbot_training.conversation_data.read_picture",
        lambda path: opened.append(Path(path).name) or np.zeros((4, 4, 3), np.uint8),
    )
    source = ConversationExamples(write_file(tmp_path, GOOD), CONFIG, processor)
    source.example(0)
    assert opened == []
    collate([Pick(0, 0), Pick(0, 2)], [source], processor)
    assert sorted(opened) == ["a.png", "a_d.png"]


def test_a_tower_that_sees_pairs_gets_pairs(tmp_path: Path, processor: Processor) -> None:
    pairs = ConversationOptions(images_per_frame=2)
    source = ConversationExamples(write_file(tmp_path, GOOD[2:]), CONFIG, processor, pairs)
    key = (str(tmp_path / "a.png"), str(tmp_path / "a_d.png"))
    assert source.example(0).frames == (key,)
    assert len(source.frame(key)) == 2
    with pytest.raises(ConversationError, match="list them in pairs"):
        ConversationExamples(write_file(tmp_path, GOOD), CONFIG, processor, pairs)
    turned = write_file(tmp_path, [entry(["a_d.png", "a.png"], "what?", "that")])
    source = ConversationExamples(turned, CONFIG, processor, pairs)
    with pytest.raises(ConversationError, match="are not a colour image and the depth image after it"):
        source.frame(source.example(0).frames[0])


def test_captions_leave_the_question_out(tmp_path: Path, processor: Processor) -> None:
    file = write_file(tmp_path, [entry(["a.png"], "Write a caption.", "a cup")])
    source = ConversationExamples(file, CONFIG, processor, ConversationOptions(captions=True))
    text = processor.tokenizer.decode(source.example(0).input_ids)
    assert "caption" not in text and "a cup" in text and text.count("<image>") == 2


BAD = {
    "roles": ({"conversations": [{"from": "gpt", "value": "hello"}]}, "turn 1 is by 'gpt'"),
    "count": (
        {"image": "a.png", "conversations": [{"from": "human", "value": "x"}, {"from": "gpt", "value": "y"}]},
        "0 image placeholders",
    ),
    "missing": (entry(["none.png"], "x", "y"), r"no image .*none\.png"),
    "long": (entry([], "x " * 2000, "y"), "and the limit is 2048"),
    "special": (entry([], "x", "y <eos> z"), "special token '<eos>'"),
    "form": ("hello", "a mapping with a list"),
}


@pytest.mark.parametrize("kind", BAD)
def test_an_entry_that_cannot_be_used_stops_the_start_by_its_number(
    tmp_path: Path, processor: Processor, kind: str
) -> None:
    bad, message = BAD[kind]
    with pytest.raises(ConversationError, match=f"entry 2: .*{message}.*--skip-bad"):
        ConversationExamples(write_file(tmp_path, [*GOOD[:2], bad, GOOD[2]]), CONFIG, processor)


def test_with_skip_bad_they_are_counted_and_listed(tmp_path: Path, processor: Processor) -> None:
    entries = [GOOD[0], *(bad for bad, _ in BAD.values()), GOOD[3]]
    source = ConversationExamples(write_file(tmp_path, entries), CONFIG, processor, SKIP)
    assert len(source) == 2
    assert [item.entry for item in source.skipped] == list(range(1, 1 + len(BAD)))
    report = source.skipped_report()
    assert (
        f"{len(BAD)} of {len(entries)} entries left out" in report
        and "entry 4: the conversation has" in report
    )
    alone = ConversationExamples(write_file(tmp_path, [GOOD[0], GOOD[3]]), CONFIG, processor)
    assert [source.example(index) for index in (0, 1)] == [alone.example(index) for index in (0, 1)]


def test_a_file_without_any_usable_conversation_is_refused(tmp_path: Path, processor: Processor) -> None:
    for entries in ([], [BAD["missing"][0]]):
        with pytest.raises(ConversationError, match="holds no conversation that can be used"):
            ConversationExamples(write_file(tmp_path, entries), CONFIG, processor, SKIP)


def test_a_damaged_image_is_named_or_gives_way_every_time(tmp_path: Path, processor: Processor) -> None:
    file = write_file(tmp_path, GOOD)
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:200])
    strict = ConversationExamples(file, CONFIG, processor)
    with pytest.raises(ConversationError, match=r"b\.png cannot be decoded"):
        collate([Pick(0, 3)], [strict], processor)
    lenient = ConversationExamples(file, CONFIG, processor, SKIP)
    assert lenient.example(3) == lenient.example(3) == strict.example(0)  # the next one, from the start again
    assert [item.entry for item in lenient.skipped] == [3] and "b.png" in lenient.skipped_report()
    assert len(lenient) == len(GOOD)  # so that no other draw changes


def test_when_every_image_is_damaged_there_is_an_end(tmp_path: Path, processor: Processor) -> None:
    file = write_file(tmp_path, [GOOD[0], GOOD[0]])
    (tmp_path / "a.png").write_text("no image")
    source = ConversationExamples(file, CONFIG, processor, SKIP)
    with pytest.raises(ConversationError, match="no conversation .* can be used"):
        source.example(1)


def test_depth_beyond_the_encoding_is_refused(tmp_path: Path, processor: Processor) -> None:
    file = write_file(tmp_path, [entry(["far.tiff"], "x", "y")])
    Image.fromarray(np.full((8, 8), 70_000, np.int32)).save(tmp_path / "far.tiff")
    source = ConversationExamples(file, CONFIG, processor)
    with pytest.raises(ConversationError, match=r"far\.tiff: depth of 70000 mm is outside"):
        source.frame(source.example(0).frames[0])


def test_fewer_images_may_be_allowed(tmp_path: Path, processor: Processor) -> None:
    with pytest.raises(ConversationError, match="4 images; a conversation holds at most 2"):
        ConversationExamples(write_file(tmp_path, GOOD), ConversationConfig(16, 16, max_images=2), processor)


@pytest.mark.parametrize("indent", [None, 2])
def test_entries_come_as_they_were_written(tmp_path: Path, indent: int | None) -> None:
    entries = [*GOOD, {"x": [1, {"y": 'a, b ] [ " 距離 😀'}]}, 7, "text", None, []]
    file = tmp_path / "x.json"
    file.write_text(json.dumps(entries, ensure_ascii=False, indent=indent), encoding="utf-8")
    read = ConversationFile(file)
    assert [read.entry(index) for index in range(len(read))] == entries
    file.write_text(" [ ] \n")
    assert len(ConversationFile(file)) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON list"),
        ('{"a": 1}', "no JSON list"),
        ('[{"a": 1}', "damaged"),
        ('[{"a": 1} {"b": 2}]', "a comma is missing"),
        ('[{"a": 1},, {"b": 2}]', "too many"),
        ('[{"a": 1},]', "too many"),
        ('[{"a": 1}, {"b": ', "damaged after 1 entries"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(ConversationError, match=message):
        ConversationFile(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConversationError, match=r"cannot read the conversations .*none\.json"):
        ConversationFile(tmp_path / "none.json")
