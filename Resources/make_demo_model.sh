#!/bin/sh
# Makes the demo model from the LIDC-IDRI cubes and the phantom: Resources/make_demo_model.sh [WORK [CUBES [MODEL]]]
#
# WORK   folder for data and jobs, outside the repository's tracked files (default build/demo-model)
# CUBES  the folder with labels.csv and images/ (default ../shared/data/lidc-cubes)
# MODEL  the bundle to write (default Resources/Models/lidc-rating.maemc)
#
# The shipped model's card is pinned: write the SHA-256 that the last line prints into SHIPPED of
# MAEMCNodule/MAEMCLib/models/store.py, or MAEMC takes the new model for a changed one.
#
# Ended in any way, the same command goes on where it stopped. PHANTOM_CASES, PRETRAIN and FINETUNE (KEY=VALUE settings)
# shorten a trial: PHANTOM_CASES=20 PRETRAIN=epochs=2 FINETUNE=epochs=2 Resources/make_demo_model.sh build/trial \
#       ../shared/data/lidc-cubes build/trial/model.maemc
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=${1:-$here/../build/demo-model}
cubes=${2:-$here/../../shared/data/lidc-cubes}
model=${3:-$here/Models/lidc-rating.maemc}
train=$here/../.venv/bin/maemc-train
[ -x "$train" ] || train=maemc-train

mkdir -p "$work"
# Pseudonyms of this run are made with a key of its own.
MAEMC_HOME=$(cd "$work" && pwd)/home
export MAEMC_HOME

"$train" phantom --output "$work/phantom" --cases "${PHANTOM_CASES:-200}" --seed 20 --grade matched
"$train" import lidc-cubes "$cubes" --keep-ids --output "$work/cubes.csv"
"$train" cache "$work/phantom/manifest.csv" --output "$work/phantom-cache"
"$train" cache "$work/cubes.csv" --output "$work/cubes-cache"
# Honest: the pre-training sees the phantom and the cubes without a usable label, never a cube that is evaluated.
"$train" pretrain --method maemc --preset tiny --data "$work/phantom-cache" --unlabeled-data "$work/cubes-cache" \
    --output "$work/pretraining" --device cpu --threads 2 seed=1 ${PRETRAIN:-}
# A linear probe: fine-tuning the whole network on some 40 cases, 6 of them benign-like, fits those and no others.
"$train" finetune --linear-probe --from "$work/pretraining" --preset tiny --data "$work/cubes-cache" \
    --output "$work/finetuning" --folds 5 --device cpu --threads 2 seed=1 ${FINETUNE:-}
"$train" export "$work/finetuning" --output "$model" --card "$here/demo_model.toml"
