"""The tables and plots of the benchmarks' results."""

from __future__ import annotations

import json

from benchmarks import report

LOOP = {
    "p50_ms": 120.0, "p95_ms": 130.0, "tokens_per_s": 90.0, "peak_mb": 500.0,
    "stages_ms": {"encode": 4.0, "vision": 20.0, "prefill": 6.0, "tokens": 89.0, "action": 1.0},
}  # fmt: skip
ENGINE = LOOP | {"p50_ms": 12.0, "tokens_per_s": None, "peak_mb": None}
CASE = {
    "source": "fresh weights", "parameters": 2_400_000, "prompt_tokens": 40, "text_tokens": 38, "target": 8.0,
    "loops": {"text": LOOP, "engine float32": ENGINE},
    "speed_up": {name: {"wall": 10.0, "cpu": 9.0} for name in ("text", "engine float32")},
    "throughput": {"float32": {"1": 80.0, "8": 200.0}}, "roofline_ms": {"vision": 0.5, "total": 2.25},
}  # fmt: skip
FIGURES = {"threads": 2, "device": "cpu", "decode_image_ms": {"depth png": 3.5}, "cases": {"tiny": CASE}}


def test_the_page_holds_the_figures_the_machine_and_a_small_plot(tmp_path):
    kept = {"machine": {"processor": "an old one", "cores": 2}, "figures": FIGURES}
    (tmp_path / "bench_engine.json").write_text(json.dumps(kept))
    page = report.write(tmp_path)
    assert page is not None
    text = page.read_text()
    assert "processor an old one, cores 2" in text
    assert (
        "| reference loop | 120.0 | 130.0 | 10.0 x | 9.0 x | 4.0 | 20.0 | 6.0 | 89.0 | 1.0 | 90 | 500 |"
        in text
    )
    assert "| engine float32 | 12.0 |" in text and "| - | - |" in text and "total 2.25" in text
    plot = tmp_path / "bench_engine-tiny.png"
    assert plot.name in text and 1_000 < plot.stat().st_size < 150_000


def test_without_results_there_is_no_page(tmp_path):
    assert report.write(tmp_path) is None and list(tmp_path.iterdir()) == []
