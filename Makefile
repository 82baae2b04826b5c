# make up    a verified cluster in the lab, and how to use it
# make test  all tests: unit, the emulated API, end to end on the lab
# make lint  ruff, mypy
# make drills every drill of `khw drill`, on a cluster of the lab (half an hour)
# make bench khw beside its peers, in a lab of its own (hours); writes docs/benchmarks.md
# make docs  the docs site, strictly: warnings are errors; build/docs/index.html
# make man   the manual pages; man -l build/man/khw.1
# make faults  the whole fault matrix, in labs of its own; prints it as a table
# make documents  every command of the README and the docs, typed on a cluster of the lab (some 10 minutes)
# make by-hand  the scripts of `khw export`, run in order on bare machines: 3 + 3, public and private (10 minutes)
# make sizes   every size of cluster, and mixed ones, in the emulated project and on bare machines (10 minutes)
# make vms     virtual machines as one's own: control groups v2, a bastion, sudo with a password (needs KVM; 10 minutes)
# make arm64   one emulated machine of arm64; its artifacts are cross-built first (an hour or more)
# make pictures  docs/images anew, from a real run in a lab of its own
# make down  the cluster and the lab are gone
# Only the lab needs root; everything else runs as you.
KHW  := .venv/bin/khw
ROOT := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: up test unit lab sizes vms arm64 drills faults documents by-hand lint bench docs man pictures down prepare browser artifacts
.DEFAULT_GOAL := up

prepare:
	@scripts/prepare.sh

artifacts: prepare
	@$(KHW) artifacts fetch >/dev/null

up: prepare artifacts
	@$(ROOT) $(KHW) lab up
	@[ -f khw.yaml ] || $(KHW) init
	@$(KHW) run -o wide
	@$(KHW) verify --wait 120
	@echo
	@echo "A verified cluster. To use it:"
	@echo "    . .venv/bin/activate"
	@echo "    export KUBECONFIG=\$$(khw kubeconfig) PATH=\$$PWD/.khw/kubernetes-the-hard-way/bin:\$$PATH"
	@echo "    kubectl get nodes"
	@echo "    khw ssh controller-0"

lint: prepare
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@bash -n scripts/*.sh .ci/run

test: unit lab

unit: prepare
	@.venv/bin/pytest tests/unit --numprocesses 4 --dist loadfile

browser:
	@scripts/prepare.sh tests

lab: prepare browser artifacts
	@$(ROOT) env KHW_CACHE="$${KHW_CACHE:-$$($(KHW) artifacts where)}" .venv/bin/pytest tests/lab -m "not apart"

sizes: prepare artifacts
	@$(ROOT) env KHW_CACHE="$${KHW_CACHE:-$$($(KHW) artifacts where)}" .venv/bin/pytest \
		tests/lab/test_sizes.py tests/lab/test_places.py tests/lab/test_api_faults.py tests/lab/test_own_network.py

vms: prepare artifacts
	@scripts/prepare.sh vms
	@$(ROOT) env KHW_CACHE="$${KHW_CACHE:-$$($(KHW) artifacts where)}" .venv/bin/pytest tests/lab/test_virtual_machines.py

arm64: prepare artifacts
	@scripts/prepare.sh arm64
	@$(KHW) artifacts fetch --arch arm64 >/dev/null
	@$(ROOT) env KHW_CACHE="$${KHW_CACHE:-$$($(KHW) artifacts where)}" .venv/bin/pytest tests/lab/test_arm64.py

drills: prepare artifacts
	@$(ROOT) env KHW_CACHE="$${KHW_CACHE:-$$($(KHW) artifacts where)}" .venv/bin/pytest tests/lab/test_drills.py

faults: prepare artifacts
	@$(ROOT) env KHW_CACHE="$${KHW_CACHE:-$$($(KHW) artifacts where)}" .venv/bin/pytest \
		tests/lab/test_kills.py tests/lab/test_losing_a_controller.py tests/lab/test_faults.py

documents: prepare artifacts
	@$(ROOT) env KHW_CACHE="$${KHW_CACHE:-$$($(KHW) artifacts where)}" .venv/bin/pytest tests/lab/test_documents.py

by-hand: prepare artifacts
	@$(ROOT) env KHW_CACHE="$${KHW_CACHE:-$$($(KHW) artifacts where)}" KHW_TEST_BY_HAND=3 .venv/bin/pytest \
		tests/lab/test_by_hand.py tests/unit/inventory/test_by_hand.py

bench: prepare artifacts
	@$(ROOT) env KHW_CACHE="$${KHW_CACHE:-$$($(KHW) artifacts where)}" .venv/bin/python -m benchmarks all

docs: prepare
	@.venv/bin/sphinx-build -q -W --keep-going -b html docs build/docs

man: prepare
	@.venv/bin/sphinx-build -q -W --keep-going -b man docs build/man

pictures: prepare browser artifacts
	@$(ROOT) env KHW_CACHE="$${KHW_CACHE:-$$($(KHW) artifacts where)}" .venv/bin/python scripts/pictures.py

down: prepare
	@[ ! -f khw.yaml ] || $(KHW) destroy --yes
	@$(ROOT) $(KHW) lab down
