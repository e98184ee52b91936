"""`tleg finetune`: train a descendant, a timm model or an earlier result on a data set."""

from pathlib import Path
from typing import Annotated

import typer

from tleg.cli import training_options as options
from tleg.cli.main import app
from tleg.cli.output import say, write, write_json
from tleg.errors import InputError


@app.command()
def finetune(
    data: options.DataOption,
    output: options.OutputOption,
    learngene: Annotated[str | None, typer.Option(help="Start from this learngene's descendant.", metavar="FILE")] = None,
    depth: Annotated[int | None, typer.Option(help="Depth of the descendant.")] = None,
    model: Annotated[str | None, typer.Option(help="Start from a timm model, from scratch.", metavar="TIMM_NAME")] = None,
    model_arg: options.ModelArgOption = None,
    image_size: Annotated[
        int | None, typer.Option(help="Pixels of the inputs of --model. Default: the data's, or timm's.")
    ] = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="Start from timm's pretrained weights (download).")
    ] = False,
    checkpoint: Annotated[
        str | None, typer.Option(help="Start from a timm folder or TIMM_NAME:FILE.", metavar="PATH")
    ] = None,
    drop_path: Annotated[float, typer.Option(help="Stochastic depth of a descendant.")] = 0.0,
    teacher: options.TeacherOption = None,
    temperature: options.TemperatureOption = 1.0,
    distillation_weight: options.WeightOption = 1.0,
    distillation_normalisation: options.NormalisationOption = "batchmean",
    epochs: options.EpochsOption = 10,
    batch_size: options.BatchSizeOption = 128,
    lr: options.LrOption = None,
    seed: options.SeedOption = 0,
    workers: options.WorkersOption = 1,
    warmup_epochs: options.WarmupOption = None,
    weight_decay: options.DecayOption = 0.05,
    label_smoothing: options.SmoothingOption = 0.1,
    crop_scale: options.CropOption = 0.08,
    flip: options.FlipOption = 0.5,
    auto_augment: options.AugmentOption = "rand-m9-mstd0.5-inc1",
    random_erasing: options.ErasingOption = 0.25,
    mixup: options.MixupOption = 0.0,
    cutmix: options.CutmixOption = 0.0,
    device: options.DeviceOption = "auto",
    precision: options.PrecisionOption = "auto",
    force: options.ForceOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Train a descendant, a timm model or an earlier result; write a folder that timm loads.

    Start from one of --learngene (with --depth), --model or --checkpoint. A model trained from scratch with --model can be
    the ancestry model for `tleg learn --teacher`.
    """
    given = {"--learngene": learngene, "--model": model, "--checkpoint": checkpoint}
    if sum(value is not None for value in given.values()) != 1:
        raise InputError(f"start from exactly one of {', '.join(given)}")
    if (depth is None) == (learngene is not None):
        raise InputError("--learngene needs --depth, and nothing else takes it")
    if model is None and (model_arg or pretrained or image_size is not None):
        raise InputError("--model-arg, --image-size and --pretrained belong to --model")
    if image_size is not None and not 1 <= image_size <= 4096:
        raise InputError(f"--image-size is from 1 to 4096, not {image_size}")
    if learngene is None and drop_path:
        raise InputError("--drop-path belongs to --learngene; a timm model takes --model-arg drop_path_rate=…")
    if not 0 <= drop_path < 1:
        raise InputError(f"--drop-path is from 0 to below 1, not {drop_path:g}")
    recipe = options.make_recipe(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=lr,
        warmup_epochs=warmup_epochs,
        weight_decay=weight_decay,
        label_smoothing=label_smoothing,
        mixup=mixup,
        cutmix=cutmix,
        seed=seed,
        workers=workers,
        crop_scale=crop_scale,
        flip=flip,
        auto_augment=auto_augment,
        random_erasing=random_erasing,
    )
    from tleg.atomic import check_folder
    from tleg.basis import check_depth
    from tleg.schema import encode

    check_folder(Path(output), overwrite=force)
    if depth is not None:
        check_depth(depth)

    from tleg.data.dataset import open_data
    from tleg.recipes.distillation import Distillation
    from tleg.training import finetune as engine
    from tleg.training import starts
    from tleg.training.device import choose_placement

    distillation = Distillation(temperature, distillation_weight, distillation_normalisation)  # type: ignore[arg-type]  # it checks the word
    placement = choose_placement(device, precision)
    opened = open_data(data)
    if learngene is not None and depth is not None:
        start = starts.start_from_learngene(learngene, depth, drop_path)
    elif model is not None:
        arguments = options.parse_model_arguments(model_arg)
        start = starts.start_from_timm(model, arguments, pretrained=pretrained, image_size=image_size)
    else:
        start = starts.start_from_checkpoint(checkpoint or "")
    job = engine.FinetuneJob(opened, start, teacher, distillation, recipe)
    say(f"training on {placement}; learning rate {recipe.peak_rate:.3g}")
    with options.training_progress("fine-tuning") as (progress, evaluating):
        score = engine.finetune(job, placement, Path(output), overwrite=force, progress=progress, evaluating=evaluating)
    if as_json:
        write_json({"output": output, "data": opened.name, **encode(score)})
    else:
        write(f"{output}  top-1 {score.top1:.2f} %  loss {score.loss:.4f}  on {score.images} images")
