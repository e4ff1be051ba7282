import pickle

import pytest

from scalesearch.arch.factory import Factory, arguments, build_module, declared, is_factory
from scalesearch.arch.plain import digest, from_plain, replaced, to_plain
from scalesearch.errors import UserError
from scalesearch.files.architecture import architecture, load_architecture, save_architecture
from tests import factories
from tests.factories import FIVE

NET = Factory(factory="tests.factories:wide", resolution=32, num_classes=2, options={"base": 4})


def test_it_is_written_and_read_as_it_was(tmp_path):
    plain = to_plain(NET)
    assert plain["factory"] == "tests.factories:wide"
    assert plain["options"] == {"base": 4}
    assert from_plain(plain) == NET
    assert load_architecture(save_architecture(tmp_path / "net.yaml", NET)) == NET
    assert pickle.loads(pickle.dumps(NET)) == NET
    assert len({NET, from_plain(plain)}) == 1


def test_its_digest_is_of_all_fields_and_of_numbers_not_of_their_types():
    others = [
        replaced(NET, change)
        for change in ({"width": 2}, {"depth": 2}, {"resolution": 33}, {"options": {"base": 5}})
    ]
    assert len({digest(net) for net in (NET, *others)}) == 5
    assert digest(replaced(NET, {"width": 1})) == digest(NET)
    assert replaced(NET, {"options": {"base": 5}}) != NET


def test_it_gets_what_its_signature_has_and_no_more():
    assert declared(NET) == ("width", "num_classes")
    assert arguments(replaced(NET, {"width": 1.5})) == {"width": 1.5, "num_classes": 2, "base": 4}
    assert build_module(replaced(NET, {"width": 1.5}))[0].out_channels == 6
    assert NET.call == "wide(width=1.0, num_classes=2, base=4)"


def test_a_function_with_arguments_of_a_factory_is_one():
    assert is_factory(factories.wide)
    assert not is_factory(factories.no_arguments)
    assert not is_factory(3)
    net = architecture(FIVE, resolution=28, in_channels=1, num_classes=10)
    assert isinstance(net, Factory)
    assert (net.resolution, net.in_channels, net.num_classes) == (28, 1, 10)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"factory": "build"}, "factory: 'build' names no factory"),
        ({"width": 0}, "width: 0 cannot be used"),
        ({"depth": "x"}, "depth: 'x' cannot be used"),
        ({"resolution": 32.5}, "resolution: 32.5 cannot be used"),
        ({"options": [1]}, "options: [1] is not a mapping"),
        ({"options": {"a b": 1}}, "options: a name in the options is none"),
        ({"options": {"a": {1, 2}}}, "options: options that cannot be written down"),
        ({"stages": []}, "stages: unknown key 'stages'"),
    ],
)
def test_mistakes_in_its_fields(fields, words):
    with pytest.raises(UserError) as caught:
        from_plain({"factory": FIVE, **fields})
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere:build", "cannot import 'nowhere'"),
        ("tests.factories:nothing", "has no 'nothing'"),
        ("tests.factories:number", "is int, which cannot be called"),
        ("tests.factories:fails", "failed: RuntimeError: no weights for 1.0 (factories.py:"),
        ("tests.factories:returns_text", "returns str, not a torch module"),
        ("tests.factories:needs_more", "needs 'groups', which nothing gives"),
        ("timm:mobilenetv3_lage_100", "timm has no model 'mobilenetv3_lage_100'"),
        ("torchvision:mobilnet_v2", "torchvision has no model 'mobilnet_v2'"),
    ],
)
def test_mistakes_in_a_factory(name, words):
    with pytest.raises(UserError) as caught:
        build_module(Factory(factory=name))
    assert words in str(caught.value)


def test_a_function_that_does_not_name_what_it_scales_is_told_so():
    with pytest.raises(UserError) as caught:
        architecture("tests.factories:open_end", resolution=32)
    assert str(caught.value) == (
        "tests.factories:open_end has none of depth, width, resolution, in_channels, num_classes "
        "in its signature, by which it could be scaled, and fails without arguments: KeyError: "
        "'width'\n  allowed: a function of depth, width and resolution that returns a torch module"
        "\n  name them in its signature: `**` does not say what is scaled"
    )


def test_an_option_that_it_does_not_take():
    with pytest.raises(UserError, match=r"takes no option 'bas'[\s\S]*did you mean 'base'"):
        arguments(replaced(NET, {"options": {"bas": 3}}))
    with pytest.raises(UserError, match="it stands beside `options`"):
        arguments(replaced(NET, {"options": {"width": 3}}))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("os:system", {"command": "exit 3"}),
        ("builtins:exec", {}),
        ("subprocess:run", {"args": "x"}),
    ],
)
def test_a_file_cannot_have_any_function_called(name, options):
    net = from_plain({"factory": name, "options": options})
    with pytest.raises(UserError, match="takes none of depth, width, resolution"):
        build_module(net)
