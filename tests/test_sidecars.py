"""Ratings in XMP sidecars, as darktable, Lightroom and digiKam write them: nothing else in them may change."""

import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from defocus.culling.sidecars import SidecarError, read_rating, sidecars_of, write_rating
from defocus.culling.xmp import LARGEST, XmpError, new_packet, read_properties, set_properties
from systems import needs_links

DARKTABLE = """<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:exif="http://ns.adobe.com/exif/1.0/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"
    xmlns:darktable="http://darktable.sf.net/"
   exif:DateTimeOriginal="2024:05:01 12:00:00.000"
   xmp:Rating="2"
   xmpMM:DerivedFrom="IMG_1.CR2"
   darktable:xmp_version="5"
   darktable:auto_presets_applied="1"
   darktable:history_end="1">
   <darktable:history>
    <rdf:Seq>
     <rdf:li
      darktable:num="0"
      darktable:operation="exposure"
      darktable:params="0000000000000000&gt;xmp:Rating=&quot;4&quot;"/>
    </rdf:Seq>
   </darktable:history>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""
LIGHTROOM = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 7.0-c000 1.000000, 0000/00/00-00:00:00        ">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
   xmp:CreatorTool="Adobe Photoshop Lightroom Classic 13.0"
   xmp:Rating="3"
   xmp:Label="Red"
   crs:Exposure2012="+0.35">
   <dc:subject><rdf:Bag><rdf:li>Größe 東京</rdf:li></rdf:Bag></dc:subject>
   <crs:ToneCurvePV2012><rdf:Seq><rdf:li>0, 0</rdf:li><rdf:li>255, 255</rdf:li></rdf:Seq></crs:ToneCurvePV2012>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""
DIGIKAM = """<?xml version="1.0" encoding="UTF-8"?>
<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <!-- by hand -->
  <rdf:Description rdf:about="" xmlns:digiKam="http://www.digikam.org/ns/1.0/" digiKam:PickLabel="2"/>
  <rdf:Description rdf:about='' xmlns:xap='http://ns.adobe.com/xap/1.0/'>
   <xap:Rating> 2 </xap:Rating>
   <xap:Label/>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""
NO_RATING = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:xmp="http://example.com/another/" xmp:Rating="9"/></rdf:RDF></x:xmpmeta>"""
EMPTY = '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/>'
BOMB = """<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<x:xmpmeta xmlns:x="adobe:ns:meta/">&b;</x:xmpmeta>"""


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "IMG_1.CR2"
    path.write_bytes(b"sensor data")
    return path


def beside(photo, name, text, encoding="utf-8"):
    path = photo.with_name(name)
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(("text", "before", "value"), [(DARKTABLE, 2, '"2"'), (LIGHTROOM, 3, '"3"')])
def test_only_the_rating_changes_in_the_files_of_editors(photo, text, before, value):
    sidecar = beside(photo, "IMG_1.xmp", text)
    assert read_rating(photo).stars == before
    assert write_rating(photo, 5) == [sidecar]
    assert sidecar.read_text("utf-8") == text.replace(f"   xmp:Rating={value}", '   xmp:Rating="5"')
    assert read_rating(photo).stars == 5
    assert photo.read_bytes() == b"sensor data"


def test_properties_as_elements_split_in_several_descriptions_under_another_prefix(photo):
    sidecar = beside(photo, "IMG_1.CR2.xmp", DIGIKAM)
    assert read_rating(photo).stars == 2
    write_rating(photo, -1, label="Green & blue")
    changed = DIGIKAM.replace("<xap:Rating> 2 </xap:Rating>", "<xap:Rating>-1</xap:Rating>")
    assert sidecar.read_text() == changed.replace("<xap:Label/>", "<xap:Label>Green &amp; blue</xap:Label>")
    assert (read_rating(photo).stars, read_rating(photo).label) == (-1, "Green & blue")


def test_a_rating_that_is_missing_is_added_whatever_the_prefix_xmp_stands_for(photo):
    sidecar = beside(photo, "IMG_1.xmp", NO_RATING)
    assert read_rating(photo).stars is None
    write_rating(photo, 4)
    text = sidecar.read_text()
    assert 'xmp:Rating="9"' in text
    assert read_rating(photo).stars == 4
    assert len(text) - len(NO_RATING) < 80
    beside(photo, "IMG_1.xmp", EMPTY)
    write_rating(photo, 1)
    assert read_rating(photo).stars == 1


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_encodings_stay(photo, encoding):
    sidecar = beside(photo, "IMG_1.xmp", LIGHTROOM.replace("\ufeff", ""), encoding)
    mark = sidecar.read_bytes()[:2]
    write_rating(photo, 1)
    assert sidecar.read_bytes()[:2] == mark
    assert "Größe 東京" in sidecar.read_bytes().decode(encoding)
    assert read_rating(photo).stars == 1


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (b"notes about this photograph", "is not XML"),
        (b"", "is not XML"),
        (b"<html><body/></html>", "holds no XMP"),
        (DARKTABLE.encode()[:400], "is not XML"),
        (DARKTABLE.replace("xmlns:darktable", "xmlns:other").encode(), "darktable is not declared"),
        (BOMB.encode(), "document type"),
        (b'<?xml version="1.0"?>' + b"<a>" * 300 + b"</a>" * 300, "deep"),
        (b"<a>" + b"<b/>" * 300_000 + b"</a>", "elements"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe\xfd", "not text"),
        (b" " * (LARGEST + 1), "MB"),
    ],
)
def test_what_is_not_understood_is_left_as_it_is(photo, contents, words):
    sidecar = photo.with_name("IMG_1.xmp")
    sidecar.write_bytes(contents)
    for call in (lambda: read_rating(photo), lambda: write_rating(photo, 3)):
        with pytest.raises(SidecarError, match=words) as raised:
            call()
        assert str(sidecar) in str(raised.value)
        assert "\n" not in str(raised.value)
    assert sidecar.read_bytes() == contents
    assert len(list(photo.parent.iterdir())) == 2


def test_of_two_sidecars_both_are_written_or_none(photo):
    short, full = beside(photo, "IMG_1.xmp", LIGHTROOM), beside(photo, "IMG_1.CR2.xmp", DARKTABLE)
    assert write_rating(photo, 4) == [full, short]
    assert read_properties(short.read_bytes())["xmp:Rating"] == read_properties(full.read_bytes())["xmp:Rating"] == "4"
    before = full.read_bytes()
    short.write_bytes(b"damaged")
    with pytest.raises(SidecarError):
        write_rating(photo, 1)
    assert full.read_bytes() == before


def test_of_two_that_differ_the_newer_counts_and_that_is_said(photo):
    short, full = beside(photo, "IMG_1.xmp", LIGHTROOM), beside(photo, "IMG_1.CR2.xmp", DARKTABLE)
    os.utime(short, (1000, 1000))
    rating = read_rating(photo)
    assert (rating.stars, rating.file) == (2, full)
    assert str(short) in rating.note
    os.utime(short, (4e9, 4e9))
    assert read_rating(photo).stars == 3
    full.unlink()
    assert read_rating(photo).note == ""


def test_the_name_of_a_new_sidecar(tmp_path):
    def made(*names, **options):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for name in names:
            (folder / name).write_bytes(b"")
        return write_rating(folder / names[0], 3, **options)[0].name

    assert made("a.CR2") == "a.xmp"
    assert made("a.jpg") == "a.jpg.xmp"
    # The habit of the folder.
    assert made("a.CR2", "b.CR2", "b.CR2.xmp") == "a.CR2.xmp"
    assert made("a.jpg", "b.jpg", "b.xmp") == "a.xmp"
    # a.xmp would be said of both.
    assert made("a.CR2", "a.JPG", "b.xmp", "c.xmp") == "a.CR2.xmp"
    assert made("a.jpg", habit="stem") == "a.xmp"
    assert made("a.CR2", habit="full-name") == "a.CR2.xmp"
    with pytest.raises(SidecarError, match="another photograph"):
        made("a.JPG", "a.CR2", habit="stem")


def test_a_sidecar_without_suffix_is_the_raw_file_s_and_not_the_jpeg_s(photo):
    jpeg = photo.with_name("IMG_1.JPG")
    Image.new("RGB", (8, 8)).save(jpeg)
    short = beside(photo, "IMG_1.xmp", LIGHTROOM)
    assert (sidecars_of(photo), sidecars_of(jpeg)) == ([short], [])
    assert read_rating(jpeg).stars is None
    assert [path.name for path in write_rating(jpeg, 1)] == ["IMG_1.JPG.xmp"]
    assert (read_rating(photo).stars, read_rating(jpeg).stars) == (3, 1)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_a_rating_within_the_photograph_counts_where_no_sidecar_states_one(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    packet = new_packet({"xmp:Rating": "4", "xmp:Label": "Blue"})
    picture = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    if suffix == "png":
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet.decode())
        picture.save(path, pnginfo=info)
    elif suffix == "tif":
        picture.save(path, tiffinfo={700: packet})
    else:
        picture.save(path, xmp=packet)
    before = path.read_bytes()
    assert (read_rating(path).stars, read_rating(path).label, read_rating(path).file) == (4, "Blue", path)
    write_rating(path, 2)
    assert read_rating(path).stars == 2
    assert path.read_bytes() == before


def test_whose_rating_it_is(photo):
    write_rating(photo, 4, by_defocus=True)
    assert read_rating(photo).by_defocus
    assert not read_rating(photo).by_a_person
    # A person rates it in another program, which keeps what it does not know.
    sidecar = photo.with_name("IMG_1.xmp")
    sidecar.write_bytes(re.sub(rb'xmp:Rating="4"', b'xmp:Rating="2"', sidecar.read_bytes(), count=1))
    assert read_rating(photo).by_a_person
    write_rating(photo, 4)  # and by this package's page: it is the same number as ours before, but a person's
    assert read_rating(photo).by_a_person
    write_rating(photo, 0)
    assert not read_rating(photo).by_a_person


def test_numbers_of_other_programs(photo):
    for text, stars in (("3.0", 3), ("7", 5), ("-4", -1), ("nan", None), ("many", None), ("", None), ("1e999", None)):
        beside(photo, "IMG_1.xmp", new_packet({"xmp:Rating": text}).decode())
        assert read_rating(photo).stars == stars
    with pytest.raises(ValueError, match="6"):
        write_rating(photo, 6)


@needs_links
def test_a_link_stays_a_link(photo, tmp_path):
    elsewhere = tmp_path / "sidecars"
    elsewhere.mkdir()
    real = elsewhere / "x.xmp"
    real.write_text(LIGHTROOM, "utf-8")
    photo.with_name("IMG_1.xmp").symlink_to(real)
    write_rating(photo, 1)
    assert photo.with_name("IMG_1.xmp").is_symlink()
    assert read_properties(real.read_bytes())["xmp:Rating"] == "1"


def test_attribute_values_with_signs_of_markup_do_not_mislead(photo):
    text = LIGHTROOM.replace("Lightroom Classic 13.0", "a > b / xmp:Rating='1' ")
    sidecar = beside(photo, "IMG_1.xmp", text)
    write_rating(photo, 5)
    assert sidecar.read_text("utf-8") == text.replace('   xmp:Rating="3"', '   xmp:Rating="5"')


def test_a_sidecar_that_is_read_only_stays_as_it_is(photo, monkeypatch):
    sidecar = photo.with_name(f"{photo.name}.xmp")
    sidecar.write_bytes(new_packet({"xmp:Label": "Blue"}))
    before = sidecar.read_bytes()
    monkeypatch.setattr(os, "access", lambda _, mode: not mode & os.W_OK)  # root may write anywhere
    with pytest.raises(SidecarError, match="read-only"):
        write_rating(photo, 3)
    assert sidecar.read_bytes() == before


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_permissions_stay(photo):
    sidecar = beside(photo, "IMG_1.xmp", LIGHTROOM)
    sidecar.chmod(0o640)
    write_rating(photo, 1)
    assert sidecar.stat().st_mode & 0o777 == 0o640


def test_values_are_escaped():
    packet = set_properties(new_packet({"xmp:Label": "x"}), {"xmp:Label": "<\"a\" & 'b'>"})
    assert read_properties(packet)["xmp:Label"] == "<\"a\" & 'b'>"
    with pytest.raises(XmpError):
        read_properties(b"<a/>")


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
@pytest.mark.parametrize("text", [DARKTABLE, LIGHTROOM, DIGIKAM, EMPTY])
def test_exiftool_reads_what_is_written_and_finds_all_else_unchanged(photo, text):
    def tags(path):
        lines = subprocess.run(
            ["exiftool", "-s", "-G1", "-a", "-XMP:all", path], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        return [re.sub(" +:", ":", line) for line in lines]

    sidecar = beside(photo, "IMG_1.xmp", text)
    before = [line for line in tags(sidecar) if "Rating" not in line]
    write_rating(photo, 5)
    after = tags(sidecar)
    assert any(re.search(r"\[XMP-xmp\] +Rating: 5", line) for line in after)
    assert [line for line in after if "Rating" not in line] == before
