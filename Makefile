# microhost: `make` prints what there is.

UV_VERSION := 0.13.9
DEBIAN_PACKAGES := bubblewrap libseccomp2 python3 python3-venv
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
RUN := $(UV) run --frozen --no-sync
export UV_PYTHON_DOWNLOADS := never
# Bytecode of our own code is written at setup, not by a privileged process at run time.
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help setup packages check test test-long demo bench serve clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: packages .venv/.made  ## everything that is needed: Debian packages (when root), virtual environment

test: DEBIAN_PACKAGES += zsh
bench: DEBIAN_PACKAGES += wrk redis-server nginx-light curl

packages:
	@missing=$$(for each in $(DEBIAN_PACKAGES); do dpkg -s $$each >/dev/null 2>&1 || echo $$each; done); \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing Debian packages:" $$missing; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	  else echo "missing Debian packages:" $$missing "(install them: sudo apt-get install" $$missing")"; exit 1; fi; \
	fi

.tools/bin/uv:
	@python3 -m venv .tools && .tools/bin/pip install -q --disable-pip-version-check uv==$(UV_VERSION)

.venv/.made: pyproject.toml uv.lock $(filter .tools/bin/uv,$(UV))
	@$(UV) sync -q --frozen --all-groups --compile-bytecode && touch $@

check: setup  ## style, types and the direction of imports
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy
	$(RUN) lint-imports

test: setup  ## the whole suite but the long soaks (about ten minutes)
	$(RUN) pytest -q -m "not long" $(PYTEST)

test-long: setup  ## the soaks
	$(RUN) pytest -q -m long $(PYTEST)

demo: setup  ## a host, the sample Micros, calls, a run, a cron: all of it, in under two minutes
	$(RUN) python -m tests.demo

bench: setup  ## speed against uvicorn and gunicorn, as ratios; writes bench.json
	$(RUN) python -m tests.bench

serve: setup  ## run the host: http://localhost:8000, data in ./data
	$(RUN) microhost serve --data data

clean:  ## remove what setup and the tools made (never your data)
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache bench.json
