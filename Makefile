# Everything a developer runs. PYTHON may point at another interpreter: make test PYTHON=.venv/bin/python
PYTHON ?= python
export OMP_NUM_THREADS = 1

.PHONY: check test behaviour kernels bench bench-report format

check:  ## style, types, floors, sizes, duplicate formulas
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	lint-imports
	$(PYTHON) tools/check_size.py

test:  ## all tests, on two processes of one thread
	$(PYTHON) -m pytest -n 2 --dist loadgroup

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
