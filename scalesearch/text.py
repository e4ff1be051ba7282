"""Texts that look alike and differ."""

from __future__ import annotations

import os
import unicodedata

_SHOWN = 5  # of the odd characters of a text
_LONGEST = 200  # characters of a value that a message repeats
# What editors and word processors put in place of what is on the keyboard.
_TYPED = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63", "-"),
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033", '"'),
    }
)


def look(text: str) -> str:
    """A key that is the same for texts that look alike.

    Unicode forms are composed, spaces of any kind and number are one space, none stand at the
    ends, invisible characters are gone, dashes and quotation marks are those of the keyboard.
    """
    composed = unicodedata.normalize("NFKC", text).translate(_TYPED)
    visible = (c for c in composed if unicodedata.category(c) not in ("Cf", "Cc") or c.isspace())
    return " ".join("".join(visible).split())


def odd_characters(text: str) -> str:
    """`U+00A0 NO-BREAK SPACE, U+0435 CYRILLIC SMALL LETTER IE`; nothing of a text without any.

    Odd are characters that are invisible, look like others of ASCII, are marks of their own where
    one letter holds them, or are letters of another script among Latin ones.
    """
    latin = any(_script(c) == "LATIN" for c in text)
    composed = set(unicodedata.normalize("NFC", text))
    odd = []
    for c in dict.fromkeys(text):
        if c.isascii() and c.isprintable():
            continue
        mark = unicodedata.combining(c) and c not in composed
        foreign = latin and _script(c) in ("CYRILLIC", "GREEK", "ARMENIAN")
        if (
            mark
            or foreign
            or not c.isprintable()
            or c.isspace()
            or (look(c) != c and look(c).isascii())
        ):
            odd.append(f"U+{ord(c):04X} {unicodedata.name(c, 'without a name')}")
    more = [f"{len(odd) - _SHOWN} more"] if len(odd) > _SHOWN else []
    return ", ".join([*odd[:_SHOWN], *more])


def shortened(text: str, most: int = _LONGEST) -> str:
    """A text of at most `most` characters: the middle of a longer one is left out."""
    if len(text) <= most:
        return text
    half = (most - 3) // 2
    return f"{text[:half]}...{text[-half:]}"


def printable(path: str) -> str:
    """A path that every file can hold: a byte that is not UTF-8 as its hexadecimal escape."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def quoted(value: object) -> str:
    """A value as a message repeats it, with the code points of what is odd in it."""
    odd = odd_characters(value) if isinstance(value, str) else ""
    return shortened(repr(value)) + (f" (with {odd})" if odd else "")


def _script(character: str) -> str:
    """The first word of a letter's name, which is that of its script."""
    return unicodedata.name(character, "").partition(" ")[0] if character.isalpha() else ""
