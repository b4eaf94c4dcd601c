"""The config: defaults, merging, and errors that name their place."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from clear_pipeline.config import Config, build_config
from clear_pipeline.errors import ConfigError
from clear_pipeline.llm.settings import Prices
from clear_pipeline.stages.filter import Count, Filter
from clear_pipeline.stages.rectify import Rectify
from clear_pipeline.stages.score import Score


def written(path: Path, text: str) -> Path:
    file = path / "config.yaml"
    file.write_text(text)
    return file


def kinds(config: Config) -> list[str]:
    return [stage.kind for stage in config.stages]


def test_remote_model_gets_the_whole_chain() -> None:
    """A model that can judge runs dedup, score, filter and rectify by default."""
    config = build_config(flags={"models": {"scorer": {"model": "gpt-x"}}})
    assert kinds(config) == ["dedup", "score", "filter", "rectify"]


def test_no_model_means_the_embedded_one() -> None:
    """Without a model nothing leaves the machine: the embedded model serves, with its preset."""
    config = build_config()
    score = config.stages[1]
    assert config.model_for("scorer").base_url is None
    assert config.model_for("scorer").model == "smollm2-135m"
    assert isinstance(score, Score)
    assert score.preset == "likelihood"
    assert "rectify" not in kinds(config)


def test_command_line_wins_over_the_file(tmp_path: Path) -> None:
    """A flag replaces the file's value and leaves its neighbours."""
    file = written(tmp_path, "models: {scorer: {model: a, max_in_flight: 3}}")
    config = build_config(file, flags={"models": {"scorer": {"model": "b"}}})
    scorer = config.model_for("scorer")
    assert (scorer.model, scorer.max_in_flight) == ("b", 3)


def test_set_reaches_a_stage_by_kind() -> None:
    """`--set` replaces the keep rule instead of adding a second one."""
    for path in ("stages.filter.keep.count=9", "filter.keep.count=9"):
        config = build_config(assignments=[path])
        (found,) = [s for s in config.stages if isinstance(s, Filter)]
        assert found.keep == Count(count=9)


def test_preset_paper_sets_the_whole_chain() -> None:
    """`paper` means the paper's constants in score, filter and rectify."""
    config = build_config(flags={"models": {"scorer": {"model": "m"}}}, preset="paper")
    _, score, _, rectify = config.stages
    assert isinstance(score, Score)
    assert (score.k, score.alpha, score.beta, score.temperature) == (5, 0.8, 0.7, 1.0)
    assert isinstance(rectify, Rectify)
    assert (rectify.scope, rectify.eta_in_force) == ("all", 0.8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stages:\n  - {kind: dedup, treshold: 0.8}", r":2:19: .*did you mean 'threshold'"),
        ("stages:\n  - {kind: dedup, threshold: 8}", r":2:19: stages\.dedup\.threshold: .*found 8"),
        ("models: {scorer: {model: m}}\nmodles: {}", r":2:1: modles: unknown key"),
        ("score:\n  k: 2", r":1:1: score: unknown key 'score'; .*list of stages: - {kind: score"),
        ("\nscope: all", r":2:1: scope: unknown key 'scope'; did you mean rectify.scope\?"),
        ("models: {scorer: {model: m, modl: x}}", r"models.scorer.modl: .*mean 'model'"),
        ("models: {judge: {model: m, bse_url: x}}", r"models.judge.bse_url: .*mean 'base_url'"),
        ("models: {wise: {model: m}}", r"models.wise: Input should be 'scorer', 'candidate'"),
        ("stages:\n  - {kind: filter, above: 0.5}", r":2:20: .*'above'; filter has kind, keep$"),
        ("load: {shard_rows: x}", r":1:8: load\.shard_rows: "),
        ("stages:\n  - {kind: wash}", r":2:5: stages\.0: Input tag 'wash' .* 'dedup', 'score'"),
        ("stages:\n  - {kind: filter}", r"'filter' needs column 'confidence'"),
        ("a: 1\na: 2", r":2:1: key 'a' stands twice"),
        ("a: [", r":1:5: not valid YAML"),
        ("models: {scorer: {model: 2024-13-45}}", r"config.yaml: .* a date and is none; put it be"),
        ("a: &a [*a]", r"config.yaml: not valid YAML: nested too deep, or in itself"),
        ("models: [a]", r":1:1: models: expected roles"),
        ("models: {scorer: gpt-x}", r":1:10: models\.scorer: expected a mapping.*'gpt-x'"),
        ("stages: [{kind: dedup}, {kind: dedup, threshold: 0.5}]", r"a kind stands twice"),
        ("- 1", r"expected a mapping at the top, found list"),
    ],
)
def test_errors_name_their_place(tmp_path: Path, text: str, expected: str) -> None:
    """A wrong setting is an error with file, line, column, found and expected."""
    with pytest.raises(ConfigError, match=expected):
        build_config(written(tmp_path, text))


@pytest.mark.parametrize(
    ("assignment", "way_out"),
    [
        ("load.map.prompt=2024-13-45", r"--set load\.map\.prompt: .*; put it between quotes$"),
        ("load.limit=" + 3_000 * "[", r"--set load\.limit: nested too deep"),
        ("foo.bar=1", r"there are models, mode, batch, .*, dedup, score, .*, rectify$"),
        ("keep.above=0.5", r"did you mean dedup\.keep, cascade\.keep or filter\.keep\?"),
        ("max_usd=1", r"did you mean budget\.max_usd\?"),
        ("scorer.model=m", r"did you mean models\.scorer\?"),
        ("model=m", r"did you mean models\.scorer\.model\?"),
        ("shard_row=8", r"did you mean load\.shard_rows\?"),
        ("filter.kep=1", r"did you mean 'keep'\?"),
        ("export.fmt=alpaca", r"did you mean 'format'\?"),
        ("score=3", r"as in --set score\.KEY=VALUE"),
        ("cascade.k=2", r"to have it: --stages dedup,score,cascade,filter$"),
        ("stages.filtre.keep=1", r"did you mean 'filter'\?"),
        ("stages.wash.k=1", r"there are decontaminate, embed, dedup, score, .*, rectify$"),
    ],
)
def test_an_unknown_key_is_an_error_with_a_way_out(assignment: str, way_out: str) -> None:
    """The place where the key lives, one like it, or all that there are; never just a no."""
    with pytest.raises(ConfigError, match=way_out):
        build_config(assignments=[assignment])


def test_a_stage_that_is_no_mapping_is_an_error() -> None:
    """Also where another assignment looks for a stage among them."""
    with pytest.raises(ConfigError, match=r"--set score\.k: no stage 'score' in this run \(a\)"):
        build_config(assignments=["stages=[a]", "score.k=1"])


def test_a_suggested_key_is_taken() -> None:
    """What is suggested can be typed."""
    with pytest.raises(ConfigError, match=r"did you mean load\.shard_rows\?"):
        build_config(assignments=["shard_rows=8"])
    assert build_config(assignments=["load.shard_rows=8"]).load.shard_rows == 8


def test_unknown_stage_on_the_command_line() -> None:
    """`--stages` with an unknown name lists the known ones."""
    with pytest.raises(
        ConfigError, match=r"no stage 'wash'; there are load, decontaminate, embed, dedup"
    ):
        build_config(stages=["load", "wash"])


def test_missing_file_is_a_config_error(tmp_path: Path) -> None:
    """A config that is not there is named."""
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read"):
        build_config(tmp_path / "nowhere.yaml")


def test_written_config_reads_back(tmp_path: Path) -> None:
    """The config of a run directory builds the same config again."""
    config = build_config(flags={"models": {"scorer": {"model": "m"}}}, preset="best")
    assert build_config(written(tmp_path, config.to_yaml())) == config
    assert "api_key" not in str(yaml.safe_load(config.to_yaml()))


def test_an_empty_section_of_models_is_none(tmp_path: Path) -> None:
    """`models:` with every line below it commented out means the embedded model."""
    assert build_config(written(tmp_path, "models:\n")) == build_config()


def test_a_preset_is_the_same_every_time() -> None:
    """A value that one config sets over a preset is not in the next config."""
    first = build_config(preset="paper")
    build_config(preset="paper", assignments=["filter.keep.count=5"])
    assert build_config(preset="paper") == first


PRICED = """
models:
  scorer: {model: a, base_url: 'http://gpu/v1', revision: r1, tokens_per_minute: 9,
           price_per_mtok: {input: 1, output: 2}}
"""


@pytest.mark.parametrize("given", [{"model": "b"}, {"base_url": "http://other/v1"}])
def test_prices_and_rates_stay_with_their_model(tmp_path: Path, given: dict[str, str]) -> None:
    """Another model or endpoint on the command line is not billed at the file's prices."""
    (file := tmp_path / "c.yaml").write_text(PRICED)
    kept = build_config(file).model_for("scorer")
    assert (kept.price_per_mtok, kept.revision) == (Prices(input=1, output=2), "r1")
    flags = {"models": {"scorer": given}}
    moved = build_config(file, flags=flags).model_for("scorer")
    assert (moved.price_per_mtok, moved.revision, moved.tokens_per_minute) == (None, None, None)
    price = "models.scorer.price_per_mtok.input=3", "models.scorer.price_per_mtok.output=4"
    priced = build_config(file, flags=flags, assignments=price).model_for("scorer")
    assert priced.price_per_mtok == Prices(input=3, output=4)


LOCAL = "models: {scorer: {model: a, base_url: 'http://gpu/v1', api_key_env: MY_KEY}}"


def test_another_model_stays_at_the_files_endpoint(tmp_path: Path) -> None:
    """`--model` alone sends neither the data nor the key of a server of one's own to OpenAI."""
    flags = {"models": {"scorer": {"model": "b"}}}
    scorer = build_config(written(tmp_path, LOCAL), flags=flags).model_for("scorer")
    assert (scorer.model, scorer.url, scorer.key_env) == ("b", "http://gpu/v1", "MY_KEY")


def test_the_files_key_does_not_go_to_another_endpoint(tmp_path: Path) -> None:
    """`--base-url` of another server leaves the file's `api_key_env` behind."""
    flags = {"models": {"scorer": {"base_url": "http://other/v1"}}}
    file = written(tmp_path, LOCAL)
    scorer = build_config(file, flags=flags).model_for("scorer")
    assert (scorer.model, scorer.url, scorer.key_env) == ("a", "http://other/v1", None)
    flags["models"]["scorer"]["api_key_env"] = "OTHER_KEY"
    assert build_config(file, flags=flags).model_for("scorer").key_env == "OTHER_KEY"


def test_set_moves_no_key_and_a_slash_moves_no_server(tmp_path: Path) -> None:
    """`--set` of a URL is like `--base-url`, for every role; a slash at the end is no other URL."""
    both = LOCAL[:-1] + ", judge: {model: j, base_url: 'http://gpu/v1', api_key_env: MY_KEY}}"
    file = written(tmp_path, both)
    for role in ("scorer", "judge"):
        moved = [f"models.{role}.base_url=http://other/v1"]
        assert build_config(file, assignments=moved).models[role].key_env is None
        named = [*moved, f"models.{role}.api_key_env=THEIRS"]
        assert build_config(file, assignments=named).models[role].key_env == "THEIRS"
    same = {"models": {"scorer": {"base_url": "http://gpu/v1/"}}}
    assert build_config(file, flags=same).models["scorer"].key_env == "MY_KEY"


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("stages.score.preset=fasst", "command line: stages.score.preset: Input should be"),
        ("stages.filter.keep.count=abc", "stages.filter.keep.count: Input should be"),
        ("stages.rectify.form=[1]", "stages.rectify.form: Input should be"),
    ],
)
def test_errors_name_the_setting_as_it_is_typed(assignment: str, said: str) -> None:
    """By the stage's kind, not its place in a list that nobody wrote."""
    flags = {"models": {"scorer": {"model": "m"}}}
    with pytest.raises(ConfigError) as caught:
        build_config(flags=flags, assignments=[assignment])
    assert said in str(caught.value)


def test_a_misspelt_key_is_told_before_what_it_leaves_missing(tmp_path: Path) -> None:
    """`modle` is what to mend; that `model` is missing follows from it."""
    with pytest.raises(ConfigError) as caught:
        build_config(written(tmp_path, "models: {scorer: {modle: a}}"))
    assert "did you mean 'model'?" in str(caught.value).splitlines()[0]


@pytest.mark.parametrize(
    "fields", ["api_key_env: sk-secret", "base_url: 'http://u:sk-secret@h/v1'"]
)
def test_a_key_in_the_config_is_refused_and_not_repeated(tmp_path: Path, fields: str) -> None:
    """A key where the name of its variable belongs is neither written nor printed."""
    with pytest.raises(ConfigError) as caught:
        build_config(written(tmp_path, f"models: {{scorer: {{model: m, {fields}}}}}"))
    assert "models.scorer." in str(caught.value)
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["gpu:8000/v1", "http://u:sk-secret@h/v1", "http://h?k=sk-secret", "http://h#sk-secret"]
)
def test_a_base_url_is_refused_in_words(tmp_path: Path, url: str) -> None:
    """How an address begins and what is not in it; no pattern, and no secret."""
    with pytest.raises(ConfigError) as caught:
        build_config(written(tmp_path, f"models: {{scorer: {{model: m, base_url: '{url}'}}}}"))
    said = str(caught.value)
    assert "models.scorer.base_url: must start with http:// or https:// and a host, with no" in said
    assert "sk-secret" not in said
    assert "pattern" not in said


def test_our_own_checks_speak_for_themselves(tmp_path: Path) -> None:
    """No words of the library that runs them stand before what they say."""
    twice = "models: {scorer: {model: m, api_key_env: A, api_key_file: b}}"
    with pytest.raises(ConfigError) as caught:
        build_config(written(tmp_path, twice))
    assert "models.scorer: api_key_env and api_key_file both name a key" in str(caught.value)


def chained(*stages: str, **assignments: str) -> Config:
    return build_config(
        stages=stages, assignments=[f"{k.replace('__', '.')}={v}" for k, v in assignments.items()]
    )


def test_refining_stages_run_only_where_they_are_named() -> None:
    """Nobody pays for a cascade or a second model without asking for it."""
    assert not {"cascade", "second_opinion"} & {*kinds(build_config())}
    named = ["score", "cascade", "second_opinion", "filter"]
    assert kinds(chained(*named)) == named


def test_a_cascade_that_aims_elsewhere_than_the_filter_must_say_so() -> None:
    """The error shows both ways out, and either of them is accepted."""
    with pytest.raises(ConfigError) as error:
        chained("score", "cascade", "filter", filter__keep__quantile="0.3")
    ways = ["cascade.keep.quantile=0.3", "cascade.keep.above=median"]
    for way in ways:
        assert f"--set stages.{way} " in str(error.value)
        config = build_config(
            stages=["score", "cascade", "filter"], assignments=["filter.keep.quantile=0.3", way]
        )
        assert build_config_again(config) == config


@pytest.mark.parametrize(
    ("assignments", "fix"),
    [
        ({"score__k": "5"}, "none is left to ask for: .* --set score.k=1"),
        (
            {"score__k": "1", "score__temperature": "0.5", "score__draw_form": "plain"},
            "temperature differ: .*draw_form=plain --set stages.cascade.temperature=0.5",
        ),
    ],
)
def test_draws_of_the_score_must_be_first_ones_of_the_cascade(
    assignments: dict[str, str], fix: str
) -> None:
    """As many draws leave none to ask for, and other draws could not be shared."""
    with pytest.raises(ConfigError, match=fix):
        chained("score", "cascade", "filter", score__preset="fast", **assignments)


def test_a_cascade_may_go_on_from_a_first_draw() -> None:
    """One draw of every row, four more in the band."""
    config = chained("score", "cascade", "filter", score__preset="fast", score__k="1")
    assert kinds(config) == ["score", "cascade", "filter"]


def build_config_again(config: Config) -> Config:
    """From the file that a run leaves."""
    return Config.model_validate(yaml.safe_load(config.to_yaml()))


@pytest.mark.parametrize(
    "stages", [("score", "filter", "cascade"), ("score", "filter", "rectify", "cascade")]
)
def test_a_cascade_after_the_filter_is_refused(stages: tuple[str, ...]) -> None:
    """Its confidence would come too late to decide anything."""
    with pytest.raises(ConfigError, match="'cascade' must stand before filter"):
        chained(*stages)


def test_no_model_stands_in_for_the_second_one() -> None:
    """The scorer serves candidate and judge, but it cannot check itself."""
    config = build_config(flags={"models": {"scorer": {"model": "m"}}})
    assert config.model_for("judge").model == "m"
    with pytest.raises(ConfigError, match=r"--set models\.second\.model=NAME"):
        config.model_for("second")
