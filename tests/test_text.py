import pytest

from scalesearch.text import look, odd_characters, shortened


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("caf\u00e9", "cafe\u0301"),  # one letter, or a letter and its accent
        ("red fox", "red\u00a0fox"),
        ("red fox", " red  fox\u200b "),
        ("1e-3", "1e\u22123"),
        ("'a'", "\u2018a\u2019"),
        ("seed", "\uff53eed"),
        ("x", "\ufeffx"),
    ],
)
def test_texts_that_look_alike_have_one_look(one, other):
    assert one != other
    assert look(one) == look(other)


def test_texts_that_can_be_told_apart_stay_apart():
    assert (
        len({look(word) for word in ("cat", "Cat", "cat2", "c at", "\u00e9", "e", "\u732b")}) == 7
    )


@pytest.mark.parametrize(
    ("text", "odd"),
    [
        ("cat", ""),
        ("r\u00e9sum\u00e9", ""),
        ("\u043a\u043e\u0442", ""),  # a Russian word is no mistake
        ("red\u00a0fox", "U+00A0 NO-BREAK SPACE"),
        ("\u0435pochs", "U+0435 CYRILLIC SMALL LETTER IE"),
        ("cafe\u0301", "U+0301 COMBINING ACUTE ACCENT"),
        ("a\u200bb\u200bc", "U+200B ZERO WIDTH SPACE"),
        ("name\uff1a", "U+FF1A FULLWIDTH COLON"),
        ("a\x07", "U+0007 without a name"),
        ("\u2212\u201c", "U+2212 MINUS SIGN, U+201C LEFT DOUBLE QUOTATION MARK"),
    ],
)
def test_odd_characters_are_named_by_code_point(text, odd):
    assert odd_characters(text) == odd


def test_long_texts_keep_both_ends():
    assert shortened("abc") == "abc"
    assert shortened("a" * 500 + "z") == "a" * 98 + "..." + "a" * 97 + "z"
    assert odd_characters("".join(map(chr, range(0x2010, 0x2016)))).endswith(", 1 more")
