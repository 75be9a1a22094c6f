"""Detect the encoding of text: Unicode by its first bytes, or a code page of western languages.

Code pages use mostly the same bytes, but for different letters. A text is read as Windows-1252,
which includes Latin-1, if every language in which the text is plausible gives the same letters.
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
# Letters beyond ASCII of each language, and the code pages in use for it.
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
    """Return the encoding by the first bytes of a text: byte order mark, zero bytes, else UTF-8.

    Parameters
    ----------
    head
        The first bytes.
    """
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    half = len(head) // 2
    # In UTF-16 every Latin letter, digit and delimiter has a zero byte.
    if half > 8 and head[1::2].count(0) > 0.8 * half and head[::2].count(0) == 0:
        return "utf-16-le"
    if half > 8 and head[::2].count(0) > 0.8 * half and head[1::2].count(0) == 0:
        return "utf-16-be"
    return UNICODE


def is_western(stream: IO[bytes]) -> bool:
    """Return whether a text is not UTF-8 and Windows-1252 is its only plausible reading.

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
    """Return the plausible readings of words, in all languages and their code pages."""
    readings = set()
    for letters, code_pages in _LANGUAGES:
        for code_page in code_pages:
            read = text.decode(code_page, "replace")
            if _is_plausible(read, letters):
                readings.add(read)
    return readings


def _is_plausible(words: str, letters: str) -> bool:
    """Return whether words are plausible in a language with these letters beyond ASCII."""
    beyond = {character for character in words.lower() if not character.isascii()}
    if not beyond <= {*letters, *_SIGNS}:
        return False
    capitals = "".join(c for c in letters.upper() if not c.isascii())
    own = letters + capitals
    every = f"A-Za-z{own}"
    # Implausible, because it occurs if another script is misread: three letters beyond ASCII in a
    # row, a capital after a small letter, or such letters alone, without other letters beside them.
    odd = f"[{own}]{{3}}|[a-z{letters}][{capitals}]"
    odd += f"|(?<![{every}])(?:[{capitals}]|[{own}]{{2}})(?![{every}])"
    # A sign such as that for degrees inside a word is implausible, too.
    odd += f"|[{every}][§°±²³€\u00a0][{every}]"
    beside = re.search(f"[A-Za-z][{own}]|[{own}][A-Za-z]", words)
    return not re.search(odd, words) and (beside is not None or not beyond & set(letters))
