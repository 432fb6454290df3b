#!/bin/bash
# One task a GPU, each with its share of the videos; the task that ends last merges all shares into one file:
#     sbatch --array=0-7 examples/slurm-array.sh /data/videos /data/labels.parquet
# The folder of the labels is on a file system that all nodes share. Tasks that were killed or ran out of time go on
# where they were when the same line is submitted again. The array counts from 0 without gaps.
#SBATCH --job-name=vidlabel
#SBATCH --array=0-7
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=16
#SBATCH --mem=96G
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@300
#SBATCH --output=vidlabel-%A_%a.log
set -euo pipefail

videos=$1
labels=$2
shift 2

# shares count from 1, the array from 0
shard=$((SLURM_ARRAY_TASK_ID + 1))/$SLURM_ARRAY_TASK_COUNT

# exec: Slurm's signal five minutes before the end then reaches vidlabel, which saves and ends with 143
exec "${VIDLABEL:-vidlabel}" caption "$videos" --out "$labels" --shard "$shard" \
    --workers "${SLURM_CPUS_PER_TASK:-2}" --max-failures 20% --log-format json "$@"
