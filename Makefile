# microhost: `make` prints what there is.

UV_VERSION := 0.13.9
DEBIAN_PACKAGES := bubblewrap libseccomp2 iproute2 nftables python3 python3-venv git
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
RUN := $(UV) run --frozen --no-sync
export UV_PYTHON_DOWNLOADS := never
# Bytecode of our own code is written at setup, not by a privileged process at run time.
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help setup packages console check test test-long test-rootless test-docker test-vm fuzz demo bench screenshots serve clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: packages .venv/.made console  ## all that is needed: Debian packages (when root), virtual environment, the console's pages
	@.venv/bin/python -m compileall -q microhost sandbox

test: DEBIAN_PACKAGES += zsh uidmap slirp4netns caddy curl
bench: DEBIAN_PACKAGES += wrk redis-server nginx-light curl docker.io
test: DEBIAN_PACKAGES += chromium docker.io
test-docker test-long: DEBIAN_PACKAGES += docker.io mmdebstrap
screenshots: DEBIAN_PACKAGES += chromium fonts-noto-core
test-rootless: DEBIAN_PACKAGES += uidmap slirp4netns
test-vm: DEBIAN_PACKAGES += qemu-system-x86 mmdebstrap cpio kmod e2fsprogs

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
	@$(UV) sync -q --frozen --all-groups --no-group fuzz --compile-bytecode && touch $@

# The console's pages. Without a recent Node the host serves all but them, and says so.
WEB := microhost/console/web
STATIC := microhost/console/static
NODE_IS_RECENT := $(shell node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' 2>/dev/null && echo yes)

ifeq ($(NODE_IS_RECENT),yes)
console: $(STATIC)/.made
else
console:
	@echo "the console's pages are not built: that needs Node 20.19 or newer"
endif

$(WEB)/node_modules/.made: $(WEB)/package.json $(WEB)/package-lock.json
	@cd $(WEB) && npm ci --silent --no-audit --no-fund && touch node_modules/.made

$(STATIC)/.made: $(WEB)/node_modules/.made $(shell find $(WEB)/src $(WEB)/public $(WEB)/index.html $(WEB)/vite.config.ts -type f 2>/dev/null)
	@cd $(WEB) && npm run --silent build -- --logLevel warn && touch ../static/.made

check: setup  ## style, types and the direction of imports
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy
	$(RUN) lint-imports
	$(if $(NODE_IS_RECENT),cd $(WEB) && npm run --silent check && npm run --silent test)
	$(if $(NODE_IS_RECENT),cd runtimes/node && $(CURDIR)/$(WEB)/node_modules/.bin/biome check --error-on-warnings .)

test: setup  ## the whole suite but the long soaks (three quarters of an hour on two cores)
	$(RUN) pytest -q -m "not long" $(PYTEST)

test-long: setup  ## the soaks
	$(RUN) pytest -q -m long $(PYTEST)

# A missing guard fails the run unless the doctor names it: `doctor` ends the target.
AS_USER := $(RUN) python -m tests.as_user --make
USER_NAME := microhost-test
test-rootless: setup  ## doctor and the suites of escapes and limits as an ordinary user, whom it makes (needs root for that)
	$(AS_USER) $(USER_NAME) $(CURDIR)/.venv/bin/microhost doctor
	$(AS_USER) --inside $(USER_NAME) $(CURDIR)/.venv/bin/pytest -q -p no:cacheprovider -m "not long" \
	  $(addprefix --ignore=,$(OWN_NETWORK)) tests/escapes tests/unit/sandbox $(PYTEST)
	$(AS_USER) --inside --own-network $(USER_NAME) $(CURDIR)/.venv/bin/pytest -q -p no:cacheprovider -m "not long" $(OWN_NETWORK) $(PYTEST)
	$(AS_USER) --inside --one-id $(USER_NAME) $(CURDIR)/.venv/bin/pytest -q -p no:cacheprovider $(ONE_ID) $(PYTEST)
	TEST_AS_USER=$(USER_NAME) $(RUN) pytest -q -m "not long" -k "not within_2_s" $(ROOTLESS_SYSTEM) $(PYTEST)

OWN_NETWORK := tests/escapes/test_iso_egress.py tests/unit/sandbox/test_doctor.py
ONE_ID := $(addprefix tests/escapes/test_iso_,files_and_proc.py kernel.py neighbours.py through_the_warden.py traps.py trust.py doors.py) \
  $(addprefix tests/escapes/test_lim_,memory.py tasks.py time.py tmp.py)
ROOTLESS_SYSTEM := $(addprefix tests/system/test_,rootless.py limits_from_inside.py apps.py dependencies.py repositories.py inside.py fairness.py revisions.py egress.py)

test-docker: setup  ## the suites of escapes and limits with Docker's containers as sandboxes, and the image (it starts daemons of its own)
	$(RUN) python -m tests.docker_engine $(CURDIR)/.venv/bin/pytest -q -m "not long" tests/docker $(IN_CONTAINERS) $(PYTEST)
	$(if $(PYTEST),,$(RUN) pytest -q -m long tests/docker)

IN_CONTAINERS := tests/contract tests/escapes/test_deaths.py tests/escapes/test_groups.py tests/escapes/test_leftovers.py \
  tests/escapes/test_lifecycle.py $(addprefix tests/escapes/test_iso_,doors.py egress.py neighbours.py through_the_warden.py trust.py) \
  $(addprefix tests/escapes/test_lim_,memory.py tasks.py time.py tmp.py)

test-vm: setup  ## doctor, the suites of escapes and limits, and docs/server.md typed through, in machines of their own with systemd
	$(RUN) python -m tests.vm $(VM)
	$(if $(VM),,TEST_SLOWNESS=4 $(RUN) pytest -q -s -m long tests/durability/test_power_cuts.py tests/vm/test_server_page.py)

fuzz: setup  ## what reads strangers' bytes, fuzzed by coverage: FUZZ_SECONDS (60) for each of frames, heads, zip, cron
	@$(UV) sync -q --frozen --all-groups --inexact
	$(RUN) python -m tests.fuzz $(FUZZ)

demo: setup  ## a host, the sample Micros, calls, a run, a cron: all of it, in under two minutes
	$(RUN) python -m tests.demo

bench: setup  ## speed against uvicorn and gunicorn, as ratios; writes bench.json
	$(RUN) python -m tests.bench

screenshots: setup  ## pictures of every page of the console, in screenshots/
	$(RUN) python -m tests.screenshots

serve: setup  ## run the host: http://localhost:8000, data in ./data
	$(RUN) microhost serve --data data

clean:  ## remove what setup and the tools made (never your data)
	rm -rf $(STATIC) $(WEB)/node_modules .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .cache bench.json
