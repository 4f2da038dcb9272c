# Each target is one script; `make` alone lists them.
.PHONY: help setup demo test test-all lint bench

help:      ## list the targets
	@sed -n 's/^\([a-z-]*\): *## /  make \1\t/p' Makefile | expand -t 18
setup:     ## install what the machine lacks and make .venv (quick when nothing changed)
	@scripts/setup.sh
demo:      ## set up, roll out the shipped policy on unseen scenes, write a report
	@scripts/demo.sh
test:      ## the quick tests
	@scripts/test.sh
test-all:  ## every test, the slow ones too
	@scripts/test.sh -m ""
lint:      ## ruff and mypy
	@scripts/lint.sh
bench:     ## the benchmarks: JSON, tables and plots in benchmarks/results
	@scripts/bench.sh
