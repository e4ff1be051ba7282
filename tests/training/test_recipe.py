import pytest

from scalesearch.errors import UserError
from scalesearch.nn.losses import Criterion
from scalesearch.training.recipe import DetectionRecipe, Recipe


@pytest.mark.parametrize(
    ("optimizer", "batch", "rate"),
    [
        ("rmsprop", 4096, 0.256),  # EfficientNet, section 5.2
        ("sgd", 8192, 3.2),  # Goyal et al. 2017: 0.1 * 8192 / 256
        ("adamw", 512, 2 * 4e-3),  # square root of 512 / 128
    ],
)
def test_peak_learning_rate_grows_with_the_batch(optimizer, batch, rate):
    assert Recipe(optimizer=optimizer, batch_size=batch).peak_learning_rate == pytest.approx(rate)


def test_a_given_learning_rate_and_decay_are_taken_as_they_are():
    recipe = Recipe(batch_size=1024, learning_rate=0.5, weight_decay=0.0)
    assert (recipe.peak_learning_rate, recipe.decay) == (0.5, 0.0)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("batch_size", 1),
        ("optimizer", "adam"),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("weight_decay", -1e-4),
        ("warmup", 1.0),
        ("label_smoothing", -0.1),
        ("clip", 0.0),
        ("ema", 1.0),
        ("precision", "float16"),
        ("device", "gpu"),
        ("device", "cuda:x"),
        ("validation_batch", 0),
    ],
)
def test_values_out_of_range_are_named(key, value):
    with pytest.raises(UserError) as caught:
        Recipe(**{key: value})
    assert caught.value.key == key
    assert repr(value) in caught.value.problem
    assert caught.value.allowed


def test_fp16_is_for_gpus():
    with pytest.raises(UserError, match="'fp16' cannot be used") as told:
        Recipe(precision="fp16", device="cpu")
    assert (told.value.key, told.value.allowed) == (
        "precision",
        "auto, bf16 or float32 with device: cpu",
    )
    for device in ("auto", "cuda"):  # a worker may see a GPU where this process has none
        assert Recipe(precision="fp16", device=device).workload.precision == "float16"


@pytest.mark.parametrize(
    ("optimizer", "batch", "rate"),
    [
        ("sgd", 128, 0.16),  # EfficientDet, section 5.1
        ("adamw", 32, 2 * 2e-2),  # square root of 32 / 8
    ],
)
def test_detectors_have_rates_of_their_own(optimizer, batch, rate):
    recipe = DetectionRecipe(optimizer=optimizer, batch_size=batch)
    assert recipe.peak_learning_rate == pytest.approx(rate)
    # EfficientDet, section 5.1: weight decay 4e-5 with SGD.
    assert recipe.decay == {"sgd": 4e-5, "adamw": 0.05}[optimizer]


def test_what_detectors_have_of_the_official_code():
    """`clip_gradients_norm`, `alpha` and `gamma`, `delta` and `box_loss_weight` of its settings."""
    assert DetectionRecipe().clip == 10.0
    given = Criterion()
    assert (given.alpha, given.gamma, given.delta, given.box_weight) == (0.25, 1.5, 0.1, 50.0)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("optimizer", "rmsprop"),
        ("freeze", "stage0"),
        ("freeze", "head"),
        ("seeds", 0),
        ("jitter", (0.0, 1.0)),
        ("jitter", (1.2, 1.0)),
        ("jitter", (1.0, float("inf"))),
        ("validate_every", 0),
        ("clip", -1.0),
    ],
)
def test_values_out_of_range_of_a_detectors_recipe_are_named(key, value):
    with pytest.raises(UserError) as caught:
        DetectionRecipe(**{key: value})
    assert caught.value.key == key
    assert repr(value) in caught.value.problem
    assert caught.value.allowed


def test_half_of_the_images_at_once_is_half_in_validation_too():
    assert Recipe(batch_size=16).images_in_validation == 32
    assert Recipe(batch_size=16).smaller().images_in_validation == 16
    given = Recipe(batch_size=16, validation_batch=100).smaller()
    assert (given.micro_batch, given.images_in_validation) == (8, 50)
    assert given.smaller().smaller().images_in_validation == 12
    assert given.smaller().smaller().smaller() is None


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        (Recipe, "micro_batch", 1),
        (Recipe, "rate_decay", "linear"),
        (Recipe, "decay_every", 0.0),
        (Recipe, "learning_rate_for", 0),
        (Recipe, "decay_factor", 1.5),
        (Recipe, "loaders", -1),
        (Recipe, "checkpoint", "first"),
        (Recipe, "crop", "centre"),
        (Recipe, "crop_scale", (0.0, 1.0)),
        (Recipe, "crop_ratio", (2.0, 1.0)),
        (Recipe, "interpolation", "nearest"),
        (Recipe, "validation_crop", 1.1),
        (Recipe, "policy", "augmix"),
        (Recipe, "operations", 0),
        (Recipe, "magnitude", 31),
        (Recipe, "color_jitter", -0.1),
        (Recipe, "erase", 1.1),
        (Recipe, "mixup", -1.0),
        (Recipe, "cutmix", float("nan")),
        (Recipe, "teacher_share", 0.0),
        (Recipe, "temperature", 0.0),
        (DetectionRecipe, "micro_batch", 17),
    ],
)
def test_values_out_of_range_of_what_came_later(kind, key, value):
    with pytest.raises(UserError) as caught:
        kind(**{key: value})
    assert (caught.value.key, caught.value.problem) == (key, f"{value!r} cannot be used")
    assert caught.value.allowed


@pytest.mark.parametrize("key", ["teacher", "teacher_weights"])
def test_a_teacher_needs_its_weights(key):
    with pytest.raises(UserError, match="a teacher is a network with its weights"):
        Recipe(**{key: "x"})


def test_the_recipe_of_efficientnet_is_the_papers():
    """Section 5.2 of Tan & Le 2019, and the authors' code for what it leaves out."""
    recipe = Recipe.named("efficientnet_imagenet")
    assert (recipe.optimizer, recipe.peak_learning_rate) == ("rmsprop", pytest.approx(0.256))
    assert (recipe.decay_factor, recipe.decay) == (0.97, 1e-5)
    assert (recipe.epochs, recipe.warmup * recipe.epochs) == (350, pytest.approx(5))
    assert recipe.decay_every * recipe.epochs == pytest.approx(2.4)
    assert (recipe.ema, recipe.label_smoothing, recipe.clip) == (0.9999, 0.1, None)
    assert (recipe.policy, recipe.validation_crop) == ("auto_augment", 224 / 256)
    # 0.256 is for 4,096 images: one card of 256 takes 0.016.
    assert Recipe.named("efficientnet_imagenet", batch_size=256).peak_learning_rate == 0.016


def test_the_recipe_of_efficientdet_is_the_papers():
    """Section 5.1 of Tan, Pang & Le 2020, and `hparams_config.py` of the authors' code."""
    recipe = DetectionRecipe.named("efficientdet_coco")
    assert (recipe.epochs, recipe.batch_size, recipe.optimizer) == (300, 64, "sgd")
    assert (recipe.peak_learning_rate, recipe.decay, recipe.ema) == (0.08, 4e-5, 0.9998)
    assert (recipe.clip, recipe.jitter, recipe.warmup * 300) == (10.0, (0.1, 2.0), 1)


def test_quick_is_what_a_recipe_is_without_a_word():
    assert Recipe.named("quick") == Recipe()
    assert DetectionRecipe.named("quick", epochs=3) == DetectionRecipe(epochs=3)
    for kind in (Recipe, DetectionRecipe):
        for name in kind.presets:
            assert isinstance(kind.named(name), kind)


def test_a_recipe_that_is_none_is_named_with_those_that_are():
    with pytest.raises(UserError, match="'finetuning' is no recipe") as caught:
        Recipe.named("finetuning")
    assert caught.value.allowed == "quick, finetune, efficientnet_imagenet"
    assert "finetune" in caught.value.hint


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, n) for kind in (Recipe, DetectionRecipe) for n in kind.presets]
)
def test_half_the_batch_has_the_rate_of_half_the_batch(kind, name):
    recipe = kind.named(name)
    half = kind.named(name, batch_size=recipe.batch_size // 2)
    growth = 2**0.5 if recipe.optimizer == "adamw" else 2
    assert half.peak_learning_rate == pytest.approx(recipe.peak_learning_rate / growth)


def test_a_given_rate_may_be_for_another_batch():
    assert Recipe(learning_rate=0.1, batch_size=64).peak_learning_rate == 0.1
    given = Recipe(optimizer="sgd", learning_rate=0.1, learning_rate_for=256, batch_size=64)
    assert given.peak_learning_rate == pytest.approx(0.025)


@pytest.mark.parametrize("option", [{"mixup": 0.2}, {"policy": "rand_augment"}, {"erase": 0.1}])
def test_changes_of_images_that_are_not_to_be_changed(option):
    with pytest.raises(UserError, match="not changed at random with augment: false") as caught:
        Recipe(augment=False, **option)
    assert caught.value.key in option
    with pytest.raises(UserError, match="crop asks for it"):
        Recipe(augment=False, crop="random_resized")


def test_noisy_batch_norms_are_those_of_what_is_seen_at_once():
    assert DetectionRecipe(batch_size=64).notes("batch") == ()
    (note,) = DetectionRecipe(batch_size=64, micro_batch=2).notes("batch")
    assert note.startswith("batch norms of 2 images at a time are noisy")


def test_files_that_are_not_there(tmp_path):
    for key, more in (("weights", {}), ("teacher_weights", {"teacher": "resnet18"})):
        with pytest.raises(UserError, match=r"there is no file .*no\.pth") as caught:
            Recipe(**{key: tmp_path / "no.pth"}, **more).require_files()
        assert caught.value.key == key
    Recipe().require_files()
