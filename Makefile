# Everything a developer runs. PYTHON may point at another interpreter: make test PYTHON=.venv/bin/python
PYTHON ?= python
export OMP_NUM_THREADS = 1
# The tests start many interpreters: each module is compiled for the first one only.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: check test exhaustive test-times behaviour zoo kernels bench bench-report format

check:  ## style, types, floors, sizes, duplicate formulas
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	lint-imports
	$(PYTHON) tools/check_size.py
	$(PYTHON) -m tools.zoo --check

test:  ## all tests but the exhaustive ones, on two processes of one thread
	$(PYTHON) -m pytest -n 2 --dist loadgroup -m "not exhaustive" --junitxml build/tests.xml

exhaustive:  ## for every system what `make test` shows for one of a family
	$(PYTHON) -m pytest -n 2 --dist loadgroup -m exhaustive

test-times: test  ## `make test`, then a table of its seconds by system and kind
	$(PYTHON) tools/test_times.py build/tests.xml

zoo:  ## the behaviour tests and a picture of each system, then docs/zoo.md from both
	$(PYTHON) -m pytest -n 2 --dist loadgroup -m behaviour
	$(PYTHON) -m tools.zoo_pictures
	$(PYTHON) -m tools.zoo

behaviour:  ## only the little trainings
	$(PYTHON) -m pytest -n 2 --dist loadgroup -m behaviour

kernels:  ## tests of the kernels, the ahead-of-time table, the CPU benchmark table (needs the extra `bench`)
	$(PYTHON) -m pytest tests/kernels -n 2 --dist loadgroup
	$(PYTHON) -m gencore_kernels.aot --check tests/kernels/aot_budgets.json
	$(PYTHON) -m pytest bench/kernels -o python_files='bench_*.py' -o addopts= --import-mode=importlib -p no:xdist \
		--bench-output build/kernels.json
	$(PYTHON) -m bench.report --table build/kernels.json

bench:  ## benchmarks, peers side by side (pip install -e ".[bench]" -c constraints.txt)
	$(PYTHON) -m pytest bench -o python_files='bench_*.py' -o addopts= --import-mode=importlib -p no:xdist

bench-report:  ## draw docs/benchmarks.md from bench/results
	$(PYTHON) -m bench.report

format:
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .
