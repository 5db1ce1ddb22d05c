# Two commands matter: `make demo` (the whole story on real video) and `make test`.
# Both set up what they need; nothing has to be prepared.

PYTHON := .venv/bin/python
ARGS ?=

.PHONY: help demo test lint soak setup setup-test clean
help:
	@echo "make demo             the whole story on real video; stays up with a page to watch"
	@echo "make demo ARGS=--once ends after the story; exit 0 only if every check held"
	@echo "make test             set up, lint, type-check and run every test (under 10 minutes)"
	@echo "make soak             the long versions of the tests"
	@echo "make bench-edge       oca beside nginx, lighttpd, h2o, Varnish, Caddy, Traffic Server (about 1 h)"
	@echo "make bench-cache      cache policies on real and made-up traces, libcachesim beside (2 min)"
	@echo "make bench-fill       how fast, frugally and politely a box fills, curl beside (6 min)"
	@echo "make bench-through    the caching proxy: first byte of a miss, a crowd, hits (1 min)"
	@echo "make bench-plan       the night's planning at 10 million demands, checked and beside its bounds (15 min)"
	@echo "make bench-store      start of a box with 10 million files, memory of a worker (root)"
	@echo "make bench-steering   decisions, answers, memory, heartbeats, restart at full size (20 min)"
	@echo "make bench-offload    what plans serve of lifelike demand, LRU and an oracle beside (3 min)"
	@echo "make lint             ruff and mypy alone"
	@echo "sudo make install     oca, steering, fill as hardened systemd services (docs/OPERATING.md)"
	@echo "make docs             rewrite what is generated (docs/KNOBS.md)"

setup:
	@sh deploy/setup.sh demo

setup-test:
	@sh deploy/setup.sh test

demo: setup
	@$(PYTHON) -m deploy.demo.story $(ARGS)

# Two files at a time: a third gains nothing on two cores, tests compute as long as they wait. In
# their order: what lasts (browser, e2e, faults) begins first. Hundreds of processes are started, so
# what they import is compiled once, also where the environment says otherwise.
test: setup-test lint
	@PYTHONDONTWRITEBYTECODE= $(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

soak: setup-test
	@$(PYTHON) -c 'import atheris' 2>/dev/null || \
		$(PYTHON) -m pip install --quiet --only-binary=atheris -e '.[soak]' || \
		echo "no atheris for this Python: the fuzz goes by Hypothesis"
	@$(PYTHON) -m pytest -m soak --timeout 7200 $(ARGS)

lint: setup-test
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy

.PHONY: docs
docs: setup-test
	@$(PYTHON) -m docs.knobs > docs/KNOBS.md
	@$(PYTHON) -m docs.openapi > docs/openapi.json

.PHONY: bench-edge
bench-edge: setup-test
	@$(PYTHON) -c 'import matplotlib' 2>/dev/null || $(PYTHON) -m pip install --quiet -e '.[bench]'
	@$(PYTHON) -m benchmarks.edge $(ARGS)

.PHONY: install
install:
	@sh deploy/install.sh

.PHONY: bench-cache
bench-cache: setup-test
	@$(PYTHON) -c 'import libcachesim, matplotlib' 2>/dev/null || \
		$(PYTHON) -m pip install --quiet -e '.[bench]'
	@$(PYTHON) -m benchmarks.cache $(ARGS)

.PHONY: bench-fill
bench-fill: setup-test
	@$(PYTHON) -m benchmarks.fill $(ARGS)

.PHONY: bench-through
bench-through: setup-test
	@$(PYTHON) -m benchmarks.through

.PHONY: bench-plan
bench-plan: setup-test
	@$(PYTHON) -c 'import matplotlib' 2>/dev/null || $(PYTHON) -m pip install --quiet -e '.[bench]'
	@$(PYTHON) -m benchmarks.plan $(ARGS)

.PHONY: bench-offload
bench-offload: setup-test
	@$(PYTHON) -m benchmarks.offload $(ARGS)

.PHONY: bench-store
bench-store: setup-test
	@$(PYTHON) -m benchmarks.store $(ARGS)

.PHONY: bench-steering
bench-steering: setup-test
	@$(PYTHON) -m benchmarks.steering $(ARGS)

clean:
	rm -rf var .venv node_modules
