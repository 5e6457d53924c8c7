"""Settings: defaults, presets, the command line, and where each value came from."""

import pytest

from segtune.core.errors import UsageError
from segtune.data.augment import SLIDES
from segtune.runs.settings import build, load_settings, read_settings


def test_the_slides_preset_is_the_polyp_projects_recipe():
    """Decoder only, point and box together, focal 20/21 and dice 1/21, AdamW 1e-5, decay 1e-4, batch 4, 60 epochs."""
    settings = load_settings(preset="slides", data="d", out="o").settings
    assert settings.model.train == "decoder"
    assert settings.training.epochs == 60
    assert settings.training.prompts.first == {"point_box": 1.0}
    assert settings.training.prompts.rounds == 1
    assert settings.training.loss.weights == {"focal": 20 / 21, "dice": 1 / 21}
    optimizer = settings.training.optimizer
    assert (optimizer.lr, optimizer.weight_decay, optimizer.batch) == (1e-5, 1e-4, 4)
    assert optimizer.schedule == "constant"
    assert settings.augment == SLIDES


def test_the_later_word_wins_and_is_remembered():
    """Default, then base, then preset, then option, then --set; each value knows its origin."""
    loaded = load_settings(preset="slides", data="d", out="o", train="late:2", epochs=3, overrides=["lr=2e-4"])
    entries = loaded.entries()
    assert entries["training.optimizer.lr"] == {"value": 2e-4, "origin": "--set"}
    assert entries["model.train"] == {"value": "late:2", "origin": "command line"}
    assert entries["training.epochs"] == {"value": 3, "origin": "command line"}
    assert entries["training.optimizer.batch"] == {"value": 4, "origin": "preset slides"}
    assert entries["cache.views"]["origin"] == "default"


def test_nano_trains_whole_and_a_large_base_from_the_cache():
    """What the base suggests is taken unless somebody says otherwise, and says why."""
    nano, large = load_settings(data="d", out="o"), load_settings(data="d", out="o", model="facebook/sam-vit-base")
    assert nano.settings.model.train == "full"
    assert large.settings.model.train == "decoder+prompt"
    assert "cached" in large.entries()["model.train"]["origin"]


@pytest.mark.parametrize(
    ("way", "lr"),
    [
        ("full", 3e-4),
        ("late:2", 3e-4),
        ("lora:r=4,in=encoder", 1e-3),
        ("bias", 1e-3),
        ("lokr", 3e-3),
        ("tokens:4", 3e-3),
    ],
)
def test_with_nano_each_way_has_its_rate(way, lr):
    """However the way is named; what somebody says of the rate stays, and a large base has one rate for all."""
    assert load_settings(data="d", out="o", train=way).settings.training.optimizer.lr == pytest.approx(lr)
    named = load_settings(data="d", out="o", train="full", overrides=[f"model.train={way}"])
    assert named.settings.training.optimizer.lr == pytest.approx(lr)
    assert (way.partition(":")[0] in named.entries()["training.optimizer.lr"]["origin"]) == (lr != 3e-4)
    said = load_settings(data="d", out="o", train=way, overrides=["training.optimizer.lr=5e-5"])
    assert said.settings.training.optimizer.lr == 5e-5
    large = load_settings(data="d", out="o", train=way, model="facebook/sam-vit-base")
    assert large.settings.training.optimizer.lr == 1e-4


@pytest.mark.parametrize(("way", "scale"), [("lora", 0.3), ("lokr", 0.1)])
def test_weights_beside_an_adapter_keep_their_rate(way, scale):
    """3e-4 whatever the adapter's; where none train so, nothing is said of it."""
    optimizer = load_settings(data="d", out="o", train=f"{way}:in=encoder,whole=decoder").settings.training.optimizer
    assert optimizer.whole_scale == scale
    assert optimizer.lr * optimizer.whole_scale == pytest.approx(3e-4)
    assert load_settings(data="d", out="o", train=way).settings.training.optimizer.whole_scale == 1


def test_a_way_named_as_an_option_has_its_rate_too():
    """All the ways of saying what trains are one."""
    assert load_settings(data="d", out="o", model__train="lora").settings.training.optimizer.lr == pytest.approx(1e-3)


def test_a_preset_keeps_its_rates():
    """What nano suggests for a way gives way to a recipe of its own."""
    optimizer = load_settings(
        preset="slides", data="d", out="o", train="lora:whole=decoder,in=encoder"
    ).settings.training.optimizer
    assert (optimizer.lr, optimizer.whole_scale) == (1e-5, 1.0)


def test_a_way_nobody_knows_is_told_at_once():
    """Where the settings are made, as every other value that is not allowed is."""
    for model in ("nano", "facebook/sam-vit-base"):
        with pytest.raises(UsageError, match="lora"):
            load_settings(data="d", out="o", train="lorra", model=model)


def test_settings_survive_the_file(tmp_path):
    """What a run folder holds builds the same tree with the same origins."""
    loaded = load_settings(preset="slides", data="d", out="o", overrides=["training.loss.weights={dice: 1.0}"])
    loaded.write(tmp_path / "settings.yaml")
    again = read_settings(tmp_path / "settings.yaml")
    assert again.settings == loaded.settings
    assert again.entries() == loaded.entries()


def test_a_sign_in_a_value_is_no_comment():
    """A folder's name and a phrase may hold it, after a space too; in quotes YAML reads as ever."""
    overrides = ["data.path=my folder #3", "model.base=my sam3 #polyp", "data.split='parts #1'"]
    loaded = load_settings(data=None, out="o", overrides=overrides).settings
    assert (loaded.data.path, loaded.model.base, loaded.data.split) == ("my folder #3", "my sam3 #polyp", "parts #1")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.lrr=1", r"no setting named 'optimizer.lrr'.*training.optimizer.lr"),
        ("seed=1", "could be"),
        ("lr", "NAME=VALUE"),
        ("lr=-1", r"training.optimizer.lr = -1.*not allowed"),
        ("training.prompts.first={clik: 1}", "Did you mean 'click'"),
        ("training.loss.weights={dise: 1}", "Did you mean 'dice'"),
        ("training.loss.weights={dice: -1}", "'dice' has -1"),
        ("training.loss.weights={dice: 0}", "at least one loss with a weight above 0"),
        ("data.fractions=[.8, .1, .2]", "three shares that sum to 1"),
        ("data.pixel_limit=0", "pixel_limit"),
        ("model.base=[", "not valid YAML"),
    ],
)
def test_a_wrong_override_says_what_is_wrong(override, message):
    """A typo or a bad value never passes silently."""
    with pytest.raises(UsageError, match=message):
        load_settings(data="d", out="o", overrides=[override])


def test_an_unknown_preset_lists_the_known():
    """As every registry does."""
    with pytest.raises(UsageError, match="Known: default, slides"):
        load_settings(preset="slide", data="d", out="o")


def test_build_refuses_a_section_as_a_value():
    """A section is not a setting."""
    with pytest.raises(UsageError, match="no setting named 'training'"):
        build({"training": 1})


@pytest.mark.parametrize("name", ["evaluation.modes", "validation.modes"])
def test_prompt_modes_are_checked_before_anything_runs(name):
    """A misspelt mode, or none at all, is refused at once and not after hours of training."""
    with pytest.raises(UsageError, match="clik"):
        load_settings(data="d", out="o", overrides=[f"{name}=[clik]"])
    with pytest.raises(UsageError, match="at least one prompt mode"):
        load_settings(data="d", out="o", overrides=[f"{name}=[]"])


def test_a_tuned_nano_is_trained_like_nano(tmp_path):
    """What suits a base suits a run that started from it."""
    load_settings(data="d", out=tmp_path / "first").write(tmp_path / "first" / "settings.yaml")
    again = load_settings(data="d", out="o", model=str(tmp_path / "first")).settings
    assert again.model.train == "full"
    assert again.training.loss.weights == load_settings(data="d", out="o").settings.training.loss.weights


def test_a_resumed_run_computes_where_it_is_asked_to(tmp_path):
    """Device and place may change between a run and its resumption; nothing else may."""
    from segtune.runs.finetune import resumed_settings
    from segtune.runs.folder import RunFolder

    load_settings(data="d", out="old", overrides=["device=cuda:1"]).write(tmp_path / "settings.yaml")
    folder = RunFolder(tmp_path)
    asked = load_settings(data="d", out=tmp_path, overrides=["device=cpu"])
    assert resumed_settings(asked, folder).settings.device == "cpu"
    assert resumed_settings(asked, folder).settings.out == str(tmp_path)
    assert resumed_settings(load_settings(data="d", out=tmp_path), folder).settings.device == "cuda:1"


def test_runs_that_name_each_other_are_not_followed_for_ever(tmp_path):
    """Folders that were renamed may do so: the chain ends where it began, with the recipe of a base that is cached."""
    for name, base in (("a", "b"), ("b", "a")):
        folder = tmp_path / name
        load_settings(data="d", out=folder, overrides=[f"model.base={tmp_path / base}"]).write(folder / "settings.yaml")
    again = load_settings(data="d", out="o", model=str(tmp_path / "a")).settings
    assert again.model.train == "decoder+prompt"


def test_the_base_that_is_set_last_decides_what_suits_it():
    """--set outweighs the option: the recipe is that of the base which is tuned."""
    settings = load_settings(data="d", out="o", model="nano", overrides=["model.base=facebook/sam-vit-base"]).settings
    assert settings.model.base == "facebook/sam-vit-base"
    assert settings.model.train == "decoder+prompt"


@pytest.mark.parametrize("content", ["", "just words\n", "- a\n- b\n"])
def test_a_damaged_settings_file_is_named(tmp_path, content):
    """A file that holds no settings is no run of defaults."""
    path = tmp_path / "settings.yaml"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"settings\.yaml is not a settings file of a run"):
        read_settings(path)


def test_a_settings_file_of_another_version_names_what_is_not_known(tmp_path):
    """A setting that there is no more is an error, and is not left out unsaid."""
    load_settings(data="d", out="o").write(tmp_path / "settings.yaml")
    with (tmp_path / "settings.yaml").open("a") as file:
        file.write("training.magic:\n  value: 1\n  origin: default\n")
    with pytest.raises(UsageError, match=r"no setting named 'training\.magic'"):
        read_settings(tmp_path / "settings.yaml")


@pytest.mark.parametrize("content", ["a: [", "- 1", "model.base: nano", "model.base: {value: nano}", ""])
def test_a_damaged_settings_file_is_refused(tmp_path, content):
    """Whatever is wrong with the file of a run, the error names it and says what to do."""
    (tmp_path / "settings.yaml").write_text(content)
    with pytest.raises(UsageError, match=r"settings\.yaml is not a settings file of a run"):
        read_settings(tmp_path / "settings.yaml")
