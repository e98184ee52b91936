"""What a model may be asked for."""

import pytest

from tleg.errors import InputError
from tleg.models.output import Output, output_of, parse_output


@pytest.mark.parametrize(
    ("text", "kind", "names"),
    [
        ("classes", "classes", ("logits",)),
        ("pooled", "pooled", ("pooled",)),
        ("tokens", "tokens", ("tokens",)),
        ("blocks:3,6,9", "blocks", ("block3", "block6", "block9")),
        ("blocks: 9, 3", "blocks", ("block3", "block9")),
        ("stages:1,4", "stages", ("stage1", "stage4")),
    ],
)
def test_forms(text: str, kind: str, names: tuple[str, ...]) -> None:
    output = parse_output(text)
    assert output.kind == kind
    assert output.names == names
    assert parse_output(str(output)) == output


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("poolde", "unknown-name", "Did you mean 'pooled'?"),
        ("", "unknown-name", "there is no output ''"),
        ("pooled:3", "conflict", "takes no numbers"),
        ("blocks", "malformed", "does not say which blocks"),
        ("blocks:", "malformed", "as in blocks:3,6,9"),
        ("blocks:0", "malformed", "from 1"),
        ("blocks:3,x", "malformed", "name them by number"),
        ("blocks:12345", "malformed", "name them by number"),
        ("blocks:3,6,3", "conflict", "names block 3 twice"),
    ],
)
def test_refusals(text: str, code: str, said: str) -> None:
    with pytest.raises(InputError, match=said.replace("?", r"\?")) as caught:
        parse_output(text)
    assert caught.value.code == code
    assert caught.value.fields == ("output-of",)


def test_a_model_without_classes_gives_its_pooled_vector() -> None:
    assert output_of(None, 10) == Output()
    assert output_of(Output("tokens"), 10) == Output("tokens")
    assert output_of(None, 0) == Output("pooled")
    assert output_of(Output("blocks", (2,)), 0) == Output("blocks", (2,))
    with pytest.raises(InputError, match="has no classes"):
        output_of(Output(), 0)
