# `make demo` and `make test` need nothing but Python 3.11 or newer; everything else is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin
SETTINGS := QT_QPA_PLATFORM=offscreen

.PHONY: demo test test-lowest compare-training bench soak screenshots introduction demo-model lint format clean

demo: .venv/installed
	$(BIN)/maemc-train sample-chest --output demo-output
	$(BIN)/maemc score demo-output/chest.nrrd --points demo-output/chest.mrk.json --device cpu --output demo-output
	$(BIN)/maemc score Resources/Samples/lidc-nodule.nrrd --point 0,0,0 --device cpu --output demo-output/lidc
	@echo "Open report.html or report.pdf of demo-output (a synthetic chest) and demo-output/lidc (a real nodule);"
	@echo "chest.nrrd, Resources/Samples/lidc-nodule.nrrd and the overlays open in Slicer."

# In three processes, since they often wait for others that they have started; a file of tests in one of them, and each
# with one thread, or they would wait for each other.
test: .venv/installed
	$(SETTINGS) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile

# The lowest declared versions of what MAEMC imports, in an environment of their own (4 GB): reading, cutting, scoring,
# batches, bundles and reports; phantoms, pre-training, fine-tuning, export and statistics.
LOWEST := $(addprefix Testing/core/test_,roi.py ct.py points.py predict.py bundle.py batch.py report.py) \
    $(addprefix Testing/training/test_,phantom_dicom.py jobs.py damaged_jobs.py export.py metrics.py calibration.py)
test-lowest: .venv-lowest/installed
	$(SETTINGS) .venv-lowest/bin/python -m pytest $(LOWEST)

# Whether this tree trains what REVISION trains, to the bit: make compare-training REVISION=f15ed39
compare-training: .venv/installed
	$(BIN)/python -m Testing.regression.training $(REVISION)

bench: .venv/installed
	$(SETTINGS) $(BIN)/python -m Testing.benchmarks

# Hours: every reader of outside data on spoiled inputs; how often intervals hold the truth; the tests marked soak, which
# take longest; a job and the panel's list
# under all that happens to them; every LIDC cube and fifty slabs with all outputs; then the tables of
# MAEMCTraining/README.md on the phantom and the LIDC slices, in soak-output, which continue where they were stopped.
soak: .venv/installed
	$(BIN)/python -m Testing.fuzzing --keep soak-output/faults
	MAEMC_SOAK=1 $(BIN)/python -m pytest Testing/training/test_intervals.py Testing/training/test_job_stateful.py
	MAEMC_SOAK=1 $(SETTINGS) $(BIN)/python -m pytest Testing -m soak
	PANEL_EXAMPLES=500 $(SETTINGS) $(BIN)/python -m pytest Testing/slicer/nodule/test_module_stateful.py
	$(BIN)/python Testing/real_data.py
	$(BIN)/maemc-train phantom --output soak-output/matched --cases 300 --seed 11
	$(BIN)/maemc-train phantom --output soak-output/others --cases 300 --seed 12
	$(BIN)/maemc-train phantom --output soak-output/easy --cases 300 --seed 13 --grade easy
	$(BIN)/maemc-train experiment patch-size --data soak-output/easy/manifest.csv \
	    --only patch-50-from-scratch-all --output soak-output/table-easy
	$(BIN)/maemc-train experiment patch-size --data soak-output/matched/manifest.csv \
	    --pretraining-data soak-output/others/manifest.csv --output soak-output/table-matched
	$(BIN)/maemc-train import lidc-slabs ../shared/data/lidc-slabs --output soak-output/slabs.csv --overwrite
	$(BIN)/maemc-train experiment lidc-rating --data soak-output/slabs.csv --output soak-output/table-slabs --threads 1
	$(BIN)/maemc-train import images ../shared/data/lidc-slices --output soak-output/slices.csv
	$(BIN)/maemc-train experiment methods --data soak-output/slices.csv --output soak-output/table-methods \
	    --threads 1 view_share=0.5 turn=true precision=bfloat16

# Pictures for README and the Extensions Index; and the nodule panel in every state, to be looked at.
screenshots: .venv/installed
	$(SETTINGS) $(BIN)/python Testing/screenshots.py
	$(SETTINGS) $(BIN)/python Testing/panel_states.py build/panel-states

# The pictures of docs/introduction.md, by whatever model is shipped, from the LIDC cubes.
introduction: .venv/installed
	$(BIN)/python Testing/introduction.py

# Makes Resources/Models/lidc-rating.maemc again, from the LIDC slabs, and its tables.
demo-model: .venv/installed
	Resources/make_demo_model.sh

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-lowest demo-output soak-output build

.venv-lowest/installed: pyproject.toml Testing/lowest.py
	$(PYTHON) -m venv .venv-lowest
	$(PYTHON) Testing/lowest.py > .venv-lowest/requirements.txt
	.venv-lowest/bin/python -m pip install --disable-pip-version-check --quiet --editable . \
	    --requirement .venv-lowest/requirements.txt 'pytest>=9,<10' 'hypothesis>=6.100'
	touch $@

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable '.[dev]'
	touch $@
