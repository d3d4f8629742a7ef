#!/bin/sh
# Makes the shipped model from the LIDC-IDRI slabs, and its tables: Resources/make_demo_model.sh [WORK [DATA [MODEL]]]
#
# WORK   folder for data and jobs, outside the repository's tracked files (default build/demo-model)
# DATA   the folder with lidc-slabs and lidc-cubes (default ../shared/data)
# MODEL  the bundle to write (default Resources/Models/lidc-rating.maemc)
#
# The shipped model's card is pinned: write the SHA-256 that the export prints into SHIPPED of
# MAEMCNodule/MAEMCLib/models/store.py, or MAEMC takes the new model for a changed one.
#
# Ended in any way, the same command goes on where it stopped. PRETRAIN and FINETUNE (KEY=VALUE settings) shorten a
# trial: PRETRAIN=epochs=1 FINETUNE=epochs=2 Resources/make_demo_model.sh build/trial ../shared/data build/trial/m.maemc
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=${1:-$here/../build/demo-model}
data=${2:-$here/../../shared/data}
model=${3:-$here/Models/lidc-rating.maemc}
train=$here/../.venv/bin/maemc-train
[ -x "$train" ] || train=maemc-train

mkdir -p "$work"
# Pseudonyms of this run are made with a key of its own.
MAEMC_HOME=$(cd "$work" && pwd)/home
export MAEMC_HOME
# Small networks: one thread is as fast as two.
threads="--device cpu --threads 1"

"$train" import lidc-slabs "$data/lidc-slabs" --overwrite --output "$work/slabs.csv"
"$train" import lidc-cubes "$data/lidc-cubes" --overwrite --output "$work/cubes.csv"
"$train" cache "$work/slabs.csv" --output "$work/slabs-cache"
# The words are those of maemc-train experiment lidc-rating, which sets the rivals beside it.
"$train" pretrain --method maemc --preset tiny --backbone slices --data "$work/slabs-cache" \
    --output "$work/pretraining" $threads seed=1 epochs=4 encoder.offsets=-1,0,1 mode=light shift_mm=3 \
    drop_slices=0.5 drop_reach=6 ${PRETRAIN:-}
# Honest: the pre-training is repeated in each fold without the patients that the fold tests.
"$train" finetune --from "$work/pretraining" --preset tiny --data "$work/slabs-cache" --output "$work/finetuning" \
    $threads seed=1 epochs=60 patience=60 batch=32 learning_rate=1e-3 loss_window=3 fusion=axial mode=light shift_mm=3 \
    drop_slices=0.5 new_patch_embedding=true head=measured ${FINETUNE:-}
"$train" export "$work/finetuning" --output "$model" --card "$here/demo_model.toml" --precision bfloat16
# Each patient by the one member that never saw the patient: within groups, among nodules of like size, from moved clicks.
"$train" evaluate "$work/finetuning" --data "$work/slabs.csv" --output "$work/table-slabs" --device cpu --clicks \
    --by diameter_mm:6,8,15,30 --by readers:3 --by texture:2,4.5 --by slice_thickness_mm:1.5,2.6
"$train" evaluate "$work/finetuning" --data "$work/cubes.csv" --output "$work/table-cubes" --device cpu --clicks \
    --by diameter_mm:8,15
