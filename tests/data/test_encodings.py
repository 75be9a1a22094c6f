"""Text that is not UTF-8: read as Windows-1252 where no language would read it in another way."""

import gzip
import io

import pytest
from test_text_tables import ROWS, is_right, loaded, put, table

from radon_numpyro.data.files.encodings import is_western

ONE_READING = [
    "Zürich, Köln, Straße",
    "Malmö, Umeå, Växjö",
    "Århus, Ærø, Tromsø",
    "Málaga, Cádiz, A Coruña",
    "Besançon, Orléans, Nîmes, Évry, près de la Forêt",
    "São Paulo, Brasília",
    "Reykjavík, Ísafjörður, Þórshöfn",
    "temperature (°C)",
    "area (m²)",
    "Zürich \u2013 \u201cOst\u201d",
]
# What stands there in these code pages, bytes would spell in Western letters too.
OTHER_CODE_PAGES = [
    ("cp1250", "Plzeň, Brno, Třebíč"),
    ("cp1250", "Győr, Pécs"),
    ("cp1250", "Łódź, Kraków"),
    ("cp1250", "Timişoara, Iaşi, Brăila"),
    ("iso8859_2", "Ljubljana, Koper, Škofja Loka, Črnomelj"),
    ("cp1251", "Москва, Казань"),
    ("cp1251", "Д, Б"),
    ("koi8_r", "Москва"),
    ("cp1253", "Αθήνα"),
    ("cp1254", "İzmir, Muğla, Niğde"),
    ("cp1256", "القاهرة"),
    ("cp1257", "Rīga, Jūrmala"),
    ("cp1257", "Šiauliai, Klaipėda"),
    ("cp850", "Zürich, Köln"),
    ("cp850", "Straße"),
    ("cp850", "Málaga"),
    ("mac_roman", "Zürich, Köln"),
    ("mac_roman", "Málaga, Coruña"),
    ("gbk", "北京, 上海"),
    ("gbk", "男, 女"),
    ("big5", "台北, 高雄"),
    ("shift_jis", "東京, 大阪"),
    ("euc_kr", "서울, 부산"),
]


@pytest.mark.parametrize("text", ONE_READING)
def test_text_with_one_reading_is_western(text):
    assert is_western(io.BytesIO(text.encode("cp1252")))
    assert not is_western(io.BytesIO(text.encode("utf-8")))


@pytest.mark.parametrize(("code_page", "text"), OTHER_CODE_PAGES)
def test_text_of_another_code_page_is_never_taken_for_western(code_page, text):
    assert not is_western(io.BytesIO(text.encode(code_page)))


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("Genève, Ancône", "cp1250"),  # è is č there
        ("Sømna", "cp1250"),  # ø is ř
        ("Tõnu, Jüri, Ülo", "cp1250"),  # õ is ő
        ("Örebro", "cp850"),  # Ö is Í
        ("dose (µg)", "cp850"),  # µ is Á
    ],
)
def test_text_with_two_readings_is_not_decided_on(text, other):
    content = text.encode("cp1252")
    assert content.decode(other) != text
    assert not is_western(io.BytesIO(content))


def test_a_table_is_read_and_its_encoding_is_said(tmp_path):
    content = table().encode("cp1252")
    for source in (
        put(tmp_path / "rows.csv", content),
        put(tmp_path / "rows.csv.gz", gzip.compress(content)),
    ):
        data = loaded(source)
        assert is_right(data)
        assert any("not UTF-8 and read as Windows-1252" in note for note in data.notes)
    # One who names it need not be told.
    named = loaded(tmp_path / "rows.csv", encoding="cp1252")
    assert is_right(named)
    assert not any("Windows-1252" in note for note in named.notes)


def test_a_letter_far_down_counts_too(tmp_path):
    """It is found in the whole file, not in its head alone."""
    rows = [("Ort A", 1.5, 2.5)] * 5000 + [("Zürich", 3.5, 1.5), ("Zürich", 2.5, 4.5)]
    assert is_right(loaded(put(tmp_path / "rows.csv", table(rows=rows).encode("cp1252"))), rows)
    rows[-1] = ("Genève", 2.5, 4.5)
    rows[-2] = ("Ancône", 2.5, 4.5)
    source = put(tmp_path / "rows.csv", table(rows=rows[:-2] + rows[-1:]).encode("cp1252"))
    with pytest.raises(ValueError, match=r"UTF-8; got byte 0xe8.*--encoding cp1252 if 'Genève'"):
        loaded(source)


def test_utf_8_with_one_bad_byte_is_refused(tmp_path):
    content = (table() + "Köln;1.5;2.5\n").encode().replace("Zürich".encode(), b"Z\xfcrich", 1)
    with pytest.raises(ValueError, match=r"UTF-8; got byte 0xfc"):
        loaded(put(tmp_path / "rows.csv", content))
    assert len(ROWS) == 6
