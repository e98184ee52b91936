#!/bin/sh
# Writes this folder anew with the code of 05abb9d; README.md says what is in it and why it is made so.
#     sh make.sh CHECKOUT PYTHON     a checkout of this repository that has 05abb9d, and an interpreter with its dependencies
# As root of a Linux machine: `unshare` gives the runs a host name that is no machine's.
set -eu
checkout=$1
export PYTHON="$2"
root=$(mktemp -d)
mkdir -p $root/code $root/work
git -C "$checkout" archive 05abb9d | tar x -C $root/code
cd $root/work

cat > images.py <<'END'
"""Two classes of striped 16 by 16 pixels with noise: of each eight images to train on and four to validate on."""
from pathlib import Path
import numpy as np
from PIL import Image

random = np.random.default_rng(5)
for split, count in (("train", 8), ("val", 4)):
    for axis, name in enumerate(("level", "upright")):
        folder = Path("images", split, name)
        folder.mkdir(parents=True)
        for number in range(count):
            stripes = np.indices((16, 16))[axis] // 2 % 2 * 160
            pixels = np.clip(stripes + random.integers(0, 5, (16, 16)) * 16, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png", optimize=True)
END

cat > stopped.py <<'END'
"""`tleg learn` or `tleg finetune` as a run whose trainer is asked to stop, by SIGTERM, right after step STOP_AFTER."""
import os, runpy, signal, sys
from tleg.cli import launching
from tleg.cli.main import run

def train(folder):
    from torch.optim.optimizer import register_optimizer_step_post_hook
    steps = []
    def count(*_):
        steps.append(1)
        if len(steps) == int(os.environ["STOP_AFTER"]):
            os.kill(os.getpid(), signal.SIGTERM)
    register_optimizer_step_post_hook(count)
    log = os.open(folder.log_file, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.argv = ["tleg.training", str(folder.path)]
    runpy.run_module("tleg.training", run_name="__main__", alter_sys=True)

launching.launch = train
sys.exit(run([*sys.argv[1:], "--detach"]))
END

cat > train.sh <<'END'
set -eu
hostname tleg-05abb9d
export PYTHONPATH=$PWD/../code/engine:$PWD/../code OMP_NUM_THREADS=1 TLEG_RUNS=$PWD/runs
tleg="$PYTHON -m tleg.cli"
model="--architecture vit_tiny_patch16_224 --model-arg img_size=16 --model-arg patch_size=4 --model-arg embed_dim=8 --model-arg num_heads=2"
all="--data images --epochs 6 --batch-size 4 --seed 7 --keep-last 1 --device cpu --precision float32 --workers 0
    --auto-augment none --random-erasing 0 --crop-scale 0.9"
learn="$model $all --sample-depths 2,3,4 --evaluate-depths 1-5 --ema 0.5 --mixup 0.2 --lr 0.02"
finetune="$all --learngene linear.safetensors --depth 3 --optimizer sgd --lr 0.2"

$PYTHON images.py
$tleg learn $learn --output linear.safetensors
STOP_AFTER=15 $PYTHON stopped.py learn $learn
$tleg learn $model $all --basis polynomial:2 --expand attention,mlp --auxiliary-depth 3 --evaluate-depths 2-4 --lr 0.03 \
    --output polynomial.safetensors
$tleg finetune $finetune --output descendant
STOP_AFTER=13 $PYTHON stopped.py finetune $finetune
$tleg build linear.safetensors --depth 3 --export pytorch --export onnx --export onnx-compact --export onnx-elastic
$tleg build polynomial.safetensors --depth 2 --export onnx
$tleg build descendant --export onnx
END
unshare --uts sh train.sh

# The runs whose results lie beside them are not needed twice, and the number of a boot tells one machine from all others.
for run in runs/*; do
    case $run in
    *learn*) grep -q polynomial "$run/spec.json" && rm -r "$run" && continue ;;
    *finetune*) grep -q '"finished"' "$run/state.json" && rm -r "$run" && continue ;;
    esac
    sed -i 's/"boot":"[^"]*"/"boot":"00000000-0000-0000-0000-000000000000"/' "$run/state.json"
    sed -i "s|$root/work|/of-05abb9d|g" "$run"/*.json "$run"/*.jsonl
done
rm images.py stopped.py train.sh
echo "$root/work"
