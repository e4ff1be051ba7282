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
