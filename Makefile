# What a checkout can do. `make PYTHON=python3.10 test` takes another Python, `make VENV=/tmp/v test` another place.
PYTHON ?= python3
VENV ?= .venv

FOUND := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
TOO_OLD := 2.% 3.0 3.1 3.2 3.3 3.4 3.5 3.6 3.7 3.8 3.9

ifneq ($(MAKECMDGOALS),clean)
ifeq ($(FOUND),)
$(error $(PYTHON) does not run; aicli needs Python 3.10 or later, name one: make PYTHON=python3.11 $(MAKECMDGOALS))
endif
ifneq ($(filter $(TOO_OLD),$(FOUND)),)
$(error aicli needs Python 3.10 or later, and $(PYTHON) is $(FOUND); name one: make PYTHON=python3.11 $(MAKECMDGOALS))
endif
endif

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
# Named after the version, so that another PYTHON makes the environment anew.
MADE := $(VENV)/.python-$(FOUND)
INSTALLED := $(VENV)/.installed
TESTABLE := $(VENV)/.installed-test
LINTABLE := $(VENV)/.installed-dev
MEASURABLE := $(VENV)/.installed-bench
COUNTABLE := build/counts/.installed-$(FOUND)
DOCUMENTABLE := $(VENV)/.installed-docs
PHOTOS := $(sort $(wildcard examples/*.jpg examples/*.png))

.PHONY: help demo test lint guest js browser bench bench-quick counts counts-renew docs build sbom clean
# All targets share one environment: pip must not run twice at once, even under -j.
.NOTPARALLEL:
.DELETE_ON_ERROR:

help:
	@echo "make demo         classify the photos in examples/ and find the faces in them, pictures in demo-output/"
	@echo "make test         every test"
	@echo "make lint         ruff, mypy, hadolint for the Dockerfile, actionlint for the workflows"
	@echo "make guest        compile the guest from guest-rust/ (needs Rust with wasm32-unknown-unknown)"
	@echo "make js           build, test and pack the package for Node.js in js/ (needs Node.js 20 or later)"
	@echo "make browser      build the browser's half of js/, for aicli page and aicli serve (needs Node.js, too)"
	@echo "make bench        measure, beside other packages; make bench-quick in a minute"
	@echo "make counts       count instructions and more, compare with the table; make counts-renew writes the table"
	@echo "make docs         the documentation as a site, in build/site; a broken link is an error"
	@echo "make build        the wheel and the source archive, in dist/; make sbom adds the bill of materials"
	@echo "make clean        remove everything that was made"
	@echo "Any of them takes PYTHON=python3.10 (3.10 or later), here $(PYTHON) is $(FOUND)."

demo: $(INSTALLED)
	@rm -rf demo-output && mkdir demo-output
	@echo "\$$ aicli classify $(PHOTOS)"
	@$(BIN)/aicli classify $(PHOTOS)
	@echo "\$$ aicli detect-faces $(PHOTOS) -o demo-output/"
	@$(BIN)/aicli detect-faces $(PHOTOS) -o demo-output/
	@echo "Pictures written:"
	@ls demo-output/* | sed 's/^/  /'
	@echo "Try your own: $(BIN)/aicli classify PHOTO"

test: $(TESTABLE)
	$(BIN)/python $(RUN_UNDER) -m pytest $(PYTEST_ARGS)

lint: $(LINTABLE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@if [ -x $(BIN)/hadolint ]; then echo $(BIN)/hadolint Dockerfile; $(BIN)/hadolint Dockerfile; fi
	$(BIN)/actionlint

guest: $(INSTALLED)
	$(BIN)/aicli build-guest

# The engine ai-edge-litert of this environment is one of the two that are tested.
js: $(INSTALLED) browser
	cd js && npm run build
	cd js && PATH="$(abspath $(BIN)):$$PATH" npm test
	cd js && npm pack --ignore-scripts

browser:
	cd js && npm ci
	cd js && npm run browser

# The peers are old packages: where one does not install, that is said and the benchmark goes on without it.
bench: $(MEASURABLE)
	-$(BIN)/python benchmarks/peers.py install
	$(BIN)/python benchmarks/bench.py

bench-quick: $(MEASURABLE)
	@mkdir -p build
	$(BIN)/python benchmarks/bench.py --quick --report build/bench-quick.md --plot build/bench-quick.png
	@cat build/bench-quick.md

counts: $(COUNTABLE)
	build/counts/bin/python benchmarks/counts.py

counts-renew: $(COUNTABLE)
	build/counts/bin/python benchmarks/counts.py --renew

docs: $(DOCUMENTABLE)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "build/site/index.html"

build: $(LINTABLE) browser
	$(BIN)/python -m build --outdir dist .

sbom: $(LINTABLE)
	for wheel in dist/aicli_vision-*.whl; do $(BIN)/python tools/sbom.py $$wheel >$${wheel%-py3-none-any.whl}.cdx.json; done

# An environment of its own, whose versions are those of the table.
$(COUNTABLE): benchmarks/counts-requirements.txt
	@rm -rf build/counts
	@$(PYTHON) -m venv build/counts
	@build/counts/bin/python -m pip --disable-pip-version-check install --quiet --no-deps -r $<
	@touch $@

clean:
	rm -rf js/node_modules js/browser js/dist js/data js/LICENSE js/*.tgz aicli/_bundled/page
	rm -rf .venv build dist demo-output guest-rust/target .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(MADE):
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "aicli: $(PYTHON) has no venv module; install it (Debian, Ubuntu: apt install python$(FOUND)-venv)" >&2; exit 1; }
	@echo "Making $(VENV) with Python $(FOUND) ..."
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(INSTALLED): pyproject.toml $(MADE)
	@echo "Installing aicli into $(VENV) ..."
	@$(PIP) --editable .
	@touch $@

$(TESTABLE): $(INSTALLED)
	@echo "Installing what the tests need ..."
	@$(PIP) --editable '.[test]'
	@touch $@

$(LINTABLE): $(TESTABLE)
	@echo "Installing what the linters need ..."
	@$(PIP) --editable '.[dev]'
	@touch $@

$(DOCUMENTABLE): $(INSTALLED)
	@echo "Installing what the documentation is built with ..."
	@$(PIP) --editable '.[docs]'
	@touch $@

$(MEASURABLE): $(TESTABLE)
	@echo "Installing what the benchmarks need ..."
	@$(PIP) --editable '.[bench]'
	@touch $@
