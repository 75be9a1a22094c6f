"""Encodings of text: Unicode by its first bytes, or a code page of western languages.

Code pages share most bytes and differ in what letters these stand for. A text is taken for
Windows-1252, of which Latin-1 is a part, if all languages that may have written it agree.
"""

from __future__ import annotations

import codecs
import re
from typing import IO

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
UNICODE, WESTERN = "utf-8-sig", "cp1252"
# Letters beyond ASCII of languages, and the code pages that files in them are written in.
_LATIN, _CENTRAL = ("cp1252", "cp850", "mac_roman"), ("cp1250", "iso8859_2")
_LANGUAGES = (
    ("äöüßé", _LATIN),  # German
    ("àâæçéèêëîïôœùûüÿ", _LATIN),  # French
    ("áéíñóúü", _LATIN),  # Spanish
    ("àèéìíîòóùú", _LATIN),  # Italian
    ("áàâãçéêíóôõúü", _LATIN),  # Portuguese
    ("àçèéíïòóúü", _LATIN),  # Catalan
    ("áèéëïíóöúü", _LATIN),  # Dutch
    ("åäöéü", _LATIN),  # Swedish, Finnish
    ("æøåéèêóòôü", _LATIN),  # Danish, Norwegian
    ("áðéíóúýþæö", _LATIN),  # Icelandic
    ("äöõüšž", ("cp1252", "cp1257")),  # Estonian
    ("áčďéěíňóřšťúůýž", _CENTRAL),  # Czech
    ("áäčďéíľĺňóôŕšťúýž", _CENTRAL),  # Slovak
    ("ąćęłńóśźż", _CENTRAL),  # Polish
    ("áéíóöőúüű", _CENTRAL),  # Hungarian
    ("čćđšž", _CENTRAL),  # Croatian, Slovene
    ("ăâîşţ", _CENTRAL),  # Romanian
    ("çğıöşüâîû\u0307", ("cp1254",)),  # Turkish
    ("āčēģīķļņšūž", ("cp1257",)),  # Latvian
    ("ąčęėįšųūž", ("cp1257",)),  # Lithuanian
)
_SIGNS = "§°±²³µ·€«»\u00d7\u2013\u2014\u2018\u2019\u201c\u201d\u201e\u2026\u00a0"
_BLANK_BUT_LETTERS = bytes(b if b > 127 or chr(b).isalpha() else 32 for b in range(256))


def encoding_of(head: bytes) -> str:
    """Encoding by the first bytes of a text: by its mark, by its zeros, else UTF-8.

    Parameters
    ----------
    head
        The first bytes.
    """
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    half = len(head) // 2
    # Latin letters, digits and delimiters have a zero beside them.
    if half > 8 and head[1::2].count(0) > 0.8 * half and head[::2].count(0) == 0:
        return "utf-16-le"
    if half > 8 and head[::2].count(0) > 0.8 * half and head[1::2].count(0) == 0:
        return "utf-16-be"
    return UNICODE


def is_western(stream: IO[bytes]) -> bool:
    """Whether a text is not UTF-8, and sensibly read as Windows-1252 and in no other way.

    Parameters
    ----------
    stream
        The text, at its beginning; it is read to its end.
    """
    if _is_utf8(stream):
        return False
    stream.seek(0)
    words: set[bytes] = set()
    while lines := stream.readlines(2**20):
        words.update(b"".join(lines).translate(_BLANK_BUT_LETTERS).split())
    text = b" ".join(sorted(word for word in words if not word.isascii()))
    return _readings(text) == {text.decode(WESTERN, "replace")}


def _is_utf8(stream: IO[bytes]) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while chunk := stream.read(2**20):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _readings(text: bytes) -> set[str]:
    """What words may be, by all languages that have their letters."""
    readings = set()
    for letters, code_pages in _LANGUAGES:
        for code_page in code_pages:
            read = text.decode(code_page, "replace")
            if _is_plausible(read, letters):
                readings.add(read)
    return readings


def _is_plausible(words: str, letters: str) -> bool:
    """Whether words may be of a language with some letters beyond ASCII."""
    beyond = {character for character in words.lower() if not character.isascii()}
    if not beyond <= {*letters, *_SIGNS}:
        return False
    capitals = "".join(c for c in letters.upper() if not c.isascii())
    own = letters + capitals
    every = f"A-Za-z{own}"
    # As of other scripts: three in a row, capitals behind small letters, no others beside them.
    odd = f"[{own}]{{3}}|[a-z{letters}][{capitals}]"
    odd += f"|(?<![{every}])(?:[{capitals}]|[{own}]{{2}})(?![{every}])"
    # And a sign such as a degree within a word.
    odd += f"|[{every}][§°±²³€\u00a0][{every}]"
    beside = re.search(f"[A-Za-z][{own}]|[{own}][A-Za-z]", words)
    return not re.search(odd, words) and (beside is not None or not beyond & set(letters))
