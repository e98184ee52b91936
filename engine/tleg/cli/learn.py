"""`tleg learn`: train an auxiliary model and keep its learngene."""

from pathlib import Path
from typing import Annotated

import typer

from tleg.cli import training_options as options
from tleg.cli.main import app
from tleg.cli.output import say, write, write_json


@app.command()
def learn(
    architecture: Annotated[str, typer.Option(help="The ViT, by timm's name.", metavar="TIMM_NAME")],
    data: options.DataOption,
    output: options.OutputOption,
    teacher: options.TeacherOption = None,
    model_arg: options.ModelArgOption = None,
    basis: Annotated[str, typer.Option(help="linear (the paper), polynomial:N, cosine:N, piecewise:N.")] = "linear",
    expand: Annotated[str, typer.Option(help="Parts that follow the basis; the rest is shared.")] = "attention,mlp,norm",
    auxiliary_depth: Annotated[
        int | None, typer.Option(help="Depth of the auxiliary model. Default: 12, or the deepest of the sampled.")
    ] = None,
    sample_depths: Annotated[
        str | None, typer.Option(help="Draw a depth at every step, as in 4,6,8-12. Default: the auxiliary depth.")
    ] = None,
    evaluate_depths: Annotated[
        str, typer.Option(help="Depths whose accuracy the learngene states; none for none.")
    ] = "1-16",
    temperature: options.TemperatureOption = 1.0,
    distillation_weight: options.WeightOption = 1.0,
    distillation_normalisation: options.NormalisationOption = "batchmean",
    epochs: options.EpochsOption = 30,
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
    """Learn a learngene: distil an ancestry model into an auxiliary model whose layers are made from a few terms.

    With --sample-depths every step draws its depth, so that descendants of any depth work without fine-tuning.
    """
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
    from tleg.atomic import check_file
    from tleg.basis import parse_basis
    from tleg.ranges import parse_depths
    from tleg.recipes.depths import Depths
    from tleg.recipes.distillation import Distillation

    check_file(Path(output), overwrite=force)
    sampled = parse_depths(sample_depths) if sample_depths else ()
    depths = Depths(max(sampled, default=12) if auxiliary_depth is None else auxiliary_depth, sampled)
    evaluated = () if evaluate_depths == "none" else parse_depths(evaluate_depths)
    parts = tuple(part.strip() for part in expand.split(","))
    chosen_basis = parse_basis(basis, parts)  # type: ignore[arg-type]  # it checks the words
    distillation = Distillation(temperature, distillation_weight, distillation_normalisation)  # type: ignore[arg-type]  # it checks the word
    arguments = options.parse_model_arguments(model_arg)

    from tleg.data.dataset import open_data
    from tleg.training import learn as engine
    from tleg.training.device import choose_placement

    placement = choose_placement(device, precision)
    job = engine.LearnJob(
        data=open_data(data),
        architecture=architecture,
        arguments=arguments,
        teacher=teacher,
        basis=chosen_basis,
        depths=depths,
        distillation=distillation,
        recipe=recipe,
    )
    say(f"training on {placement}; learning rate {recipe.peak_rate:.3g}")
    with options.training_progress("learning") as (progress, evaluating):
        learngene = engine.learn_to_file(
            job, placement, Path(output), overwrite=force, depths=evaluated, progress=progress, evaluating=evaluating
        )
    reached = learngene.header.reached
    if as_json:
        write_json({"output": output, "top1": {} if reached is None else dict(reached.top1)})
        return
    write(output)
    for depth, value in ({} if reached is None else reached.top1).items():
        write(f"depth {depth:>3}  top-1 {value:.2f} %")
