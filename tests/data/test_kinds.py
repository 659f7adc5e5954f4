"""Kinds of pictures: each is read, or counted and named; with damaged metadata a picture is still a picture."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin
from support.pictures import BLUE, RED, noise, one, picture

from tinygan.data import load_folder
from tinygan.data.kinds import FORMATS, NOT_READ, SUFFIXES


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path_factory):
    """A cache of one's own, whatever the machine's is."""
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path_factory.mktemp("cache") / name)


def test_suffixes_are_those_of_pillow():
    Image.init()
    of_pillow = {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS}
    assert of_pillow <= set(SUFFIXES)
    assert not set(SUFFIXES) & set(NOT_READ)


def saved(name, **options):
    return lambda folder: picture(folder, name, **options)


def array(name, values, **options):
    return lambda folder: Image.fromarray(values).save(folder / name, **options)


def tiff16(values, *, white_is_zero=False, bits=16):
    """A grey TIFF without packing."""

    def save(folder):
        data = values.tobytes()
        height, width = len(values), values.size * 16 // bits // len(values)
        tags = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, int(not white_is_zero))]
        tags += [(273, 4, 8), (277, 3, 1), (278, 4, height), (279, 4, len(data))]
        entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
        page = struct.pack("<H", len(tags)) + entries + bytes(4)
        (folder / "a.tif").write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + page)

    return save


def twelve_bits(level, n):
    pair = level << 12 | level
    return np.frombuffer(pair.to_bytes(3, "big") * (n * n // 2), np.uint8).reshape(n, -1).copy()


GREY = np.full((9, 9), 77, np.uint8)

#: (how a picture is made, what colour it has)
KIND_ODDITIES = [
    (saved("a.tif"), RED),
    (saved("a.TIFF", compression="tiff_lzw"), RED),
    (saved("a.tif", compression="tiff_adobe_deflate"), RED),
    (saved("a.tif", compression="jpeg"), RED),
    (saved("a.tif", mode="CMYK", colour=(0, 255, 255, 0)), (255, 0, 0)),
    (saved("a.tif", mode="1", colour=1), (255,) * 3),
    (saved("a.tif", mode="RGBA", colour=(*RED, 0)), (255,) * 3),
    (saved("a.tif", mode="LA", colour=(9, 255)), (9,) * 3),
    (saved("a.tif", mode="P", colour=3), (3,) * 3),
    (saved("a.tif", save_all=True, append_images=[Image.new("RGB", (8, 8), BLUE)]), RED),
    (array("a.tif", GREY), (77,) * 3),
    (array("a.tif", np.full((9, 9), 77 * 256 + 9, np.uint16)), (77,) * 3),
    (tiff16(np.full((9, 9), 77 * 256 + 9, np.uint16)), (77,) * 3),
    (tiff16(np.full((9, 9), 77 * 256 + 9, np.uint16), white_is_zero=True), (178,) * 3),
    (tiff16(twelve_bits(77 * 16, 8).view(np.uint16), bits=12), (77,) * 3),
    (saved("a.ppm"), RED),
    (array("a.pgm", GREY), (77,) * 3),
    (array("a.pgm", np.full((9, 9), 77 * 256 + 9, np.uint16)), (77,) * 3),
    (saved("a.pbm", mode="1", colour=0), (0,) * 3),
    (lambda folder: (folder / "a.pgm").write_text("P2 2 1 15\n15 15\n"), (255,) * 3),
    (lambda folder: (folder / "a.pnm").write_bytes(b"P5 2 1 1023\n" + struct.pack(">2H", 1023, 1023)), (255,) * 3),
    (saved("a.avif", quality=100), RED),
    (saved("a.jp2"), RED),
    (saved("a.j2k"), RED),
    (saved("a.pcx"), RED),
    (saved("a.sgi"), RED),
    (saved("a.rgb", format="SGI"), RED),
    (saved("a.tga"), RED),
    (saved("a.tga", compression="tga_rle"), RED),
    (saved("a.dib"), RED),
    (saved("a.qoi"), RED),
    (saved("a.jpg", format="TIFF"), RED),
    (saved("a.heic", format="JPEG", quality=95), RED),
    (saved("no_suffix", format="PNG"), RED),
    (saved("a.jpg_large", format="JPEG", quality=95), RED),
    (saved("photo.jpg~", format="WEBP", lossless=True), RED),
    (saved("a.unknown", format="GIF"), RED),
    *((saved(name, format="JPEG", quality=95), RED) for name in ("a.bak", "a.old", "a.bin", "a.jpg.part")),
    *(
        (saved(name, format=kind), RED)
        for kind in ("TIFF", "BMP", "PPM", "PCX", "SGI", "QOI")
        for name in ("a", "a.bak")
    ),
    *((saved(name, format="JPEG2000"), RED) for name in ("a", "a.jpg~")),
    (saved("a", format="AVIF", quality=100), RED),
    (lambda folder: (folder / "a").write_bytes(b"P5\n# by hand\n2\n1 # wide, high\n255\n\x4d\x4d"), (77,) * 3),
    (saved("a.mpo", format="MPO", quality=95), RED),
    (array("a.png", np.full((9, 9, 2), (77, 255), np.uint8)), (77,) * 3),
    (saved("a.png", mode="P", colour=0, transparency=b"\0"), (255,) * 3),
    (saved("a.png", mode="1", colour=0, transparency=0), (255,) * 3),
    (saved("a.png", mode="L", colour=5, transparency=5), (255,) * 3),
    (array("a.png", np.full((9, 9), 3000, np.uint16), transparency=3000), (255,) * 3),
    (array("a.png", np.full((9, 9), 77 * 256 + 9, np.uint16), transparency=77 * 256 + 8), (77,) * 3),
]


@pytest.mark.parametrize(("make", "colour"), KIND_ODDITIES, ids=range(len(KIND_ODDITIES)))
def test_what_pillow_can_read_is_read(tmp_path, make, colour):
    make(tmp_path)
    np.testing.assert_allclose(one(tmp_path, channels=3), np.broadcast_to(colour, (8, 8, 3)), atol=5)


def content(text):
    return lambda path: path.write_bytes(text)


def beginning(kind):
    """The beginning of a picture."""

    def save(path):
        Image.fromarray(noise(0, 99, 99, 3)).save(path, kind)
        path.write_bytes(path.read_bytes()[:999])

    return save


def preview(path):
    """A small copy, and behind it the picture, as cameras write."""
    small, large = Image.new("RGB", (4, 4)), Image.new("RGB", (9, 9))
    small.save(path, "TIFF", save_all=True, append_images=[large], tiffinfo={254: 1})


def without_palette(path):
    file = io.BytesIO()
    Image.new("P", (4, 4)).save(file, "PNG")
    start = file.getvalue().index(b"PLTE") - 4
    end = start + 12 + struct.unpack_from(">I", file.getvalue(), start)[0]
    path.write_bytes(file.getvalue()[:start] + file.getvalue()[end:])


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(80)


#: (name, how it is made, why it is not read)
UNREAD_ODDITIES = [
    *((f"a{suffix}", content(b"anything"), "not a kind that is read: save it as PNG or JPEG") for suffix in NOT_READ),
    ("a.NEF", content(b"II*\0" + bytes(99)), "not a kind that is read"),
    ("a.psd", content(b"8BPS\0\1" + bytes(99)), "not a kind that is read"),
    ("a.ico", lambda p: picture(p.parent, p.name, (16, 16)), "not a kind that is read"),
    ("a.dds", lambda p: picture(p.parent, p.name, (16, 16)), "not a kind that is read"),
    ("a.eps", lambda p: picture(p.parent, p.name, (16, 16)), "not a kind that is read"),
    ("a.tif", lambda p: Image.fromarray(np.zeros((4, 4), np.float32)).save(p), "32 bits, .* save it with 8 or 16"),
    ("a.tif", lambda p: Image.fromarray(np.zeros((4, 4), np.int32)).save(p), "32 bits, .* save it with 8 or 16"),
    ("a.pfm", lambda p: Image.fromarray(np.zeros((4, 4), np.float32)).save(p), "32 bits"),
    ("a.tif", lambda p: Image.new("LAB", (4, 4)).save(p), "Lab space: save it in RGB"),
    ("a.tif", content(b"MM\0*" + b"\xff" * 40), "no PNG, JPEG|not|unpack"),
    ("a.avif", content(b"\0\0\0\x20ftypavif" + bytes(50)), ""),
    ("a.jp2", content(b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(50)), ""),
    ("a.ppm", content(b"P6 99999 99999 255\n"), "are more than max_pixels"),
    ("a.qoi", content(b"qoif" + struct.pack(">IIBB", 3000, 3000, 3, 0)), "of QOI, 3,125,000, allows"),
    ("a.tga", content(b"hello"), "no PNG, JPEG"),
    *((f"a{suffix}", content(HEIC), "no PNG, JPEG") for suffix in ("", ".bak", ".jpg~", ".bin")),
    ("a", content(HEIC.replace(b"ftypheic", b"ftypmif1")), "no PNG, JPEG"),
    ("a", content(b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(80)), "no PNG, JPEG"),
    ("a", content(b"8BPS\0\1" + bytes(80)), "no PNG, JPEG"),
    ("a", content(b"II*\0" + bytes(80)), "no PNG, JPEG"),
    *(("a.bak", beginning(kind), "") for kind in ("TIFF", "BMP", "PPM", "JPEG2000", "PCX", "AVIF", "WEBP", "PNG")),
    ("a.NEF", beginning("TIFF"), "not a kind that is read"),
    *((name, preview, "its first page is a small copy of the picture") for name in ("a", "a.tif")),
    ("a.png", without_palette, "the list of colours is missing"),
    ("a.pgm", content(b"P5 2 1 0\n"), ""),
]


@pytest.mark.parametrize(("name", "make", "why"), UNREAD_ODDITIES, ids=range(len(UNREAD_ODDITIES)))
def test_what_is_not_read_is_counted_and_named(tmp_path, name, make, why):
    picture(tmp_path, "b.png")
    make(tmp_path / name)
    data = load_folder(tmp_path, size=8)
    assert len(data) == 1
    with pytest.raises(ValueError, match=rf"; 1 could not be read: {name} \(.*({why})"):
        raise ValueError(data.description)


@pytest.mark.parametrize("name", ["notes.txt", "labels.csv", "a.json", "clip.mp4", "Makefile", "a.py"])
def test_what_does_not_look_like_a_picture_is_not_complained_of(tmp_path, name):
    picture(tmp_path, "b.png")
    (tmp_path / name).write_bytes(b"anything")
    assert "could not" not in load_folder(tmp_path).description


#: what texts and others begin with that a hasty look would take for pictures
TEXT_ODDITIES = [
    *(b"P6 is a processor of 1995\n", b"P1\n", b"P3: 3 people\n", b"P5 12\nand so on", b"P7 and more", b"Pf. 12 13"),
    *(
        b"BM is a company, and this is a text of its",
        b"BM" + bytes(99),
        b"II* and more",
        b"MM, and more",
        b"RIFF....WAVE",
    ),
    *(b"\0\0\0\x18ftypmp42" + bytes(80), b"\0\0\0\x14ftypqt  " + bytes(80), b"\0\0\0\x18ftypM4A " + bytes(80)),
    *(b"\n\n\n\n", b"\x01\xda", b"\xff\xfea\0b\0", b"\xff\n\n", b"<svgs>", b"%PDF-1.4\n", b"PK\3\4", b"#?", b"", b"P"),
]


@pytest.mark.parametrize("start", TEXT_ODDITIES, ids=range(len(TEXT_ODDITIES)))
def test_what_only_begins_a_bit_like_a_picture_is_not_complained_of(tmp_path, start):
    picture(tmp_path, "b.png")
    (tmp_path / "a").write_bytes(start)
    data = load_folder(tmp_path)
    assert (len(data), "could not" in data.description) == (1, False)


def test_tiles_larger_than_their_picture_take_no_memory(tmp_path):
    picture(tmp_path, "b.png")
    tags = [(256, 4, 16), (257, 4, 16), (258, 3, 8), (259, 3, 8), (262, 3, 1), (277, 3, 1)]
    tags += [(322, 4, 30_000), (323, 4, 30_000), (324, 4, 8), (325, 4, 8)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    page = struct.pack("<H", len(tags)) + entries + bytes(4)
    (tmp_path / "a.tif").write_bytes(b"II*\0" + struct.pack("<I", 16) + zlib.compress(bytes(9))[:8] + page)
    description = load_folder(tmp_path).description
    assert "a.tif (a tile of 900,000,000 pixels is more than a picture of 16 x 16 needs)" in description


def test_pages_and_frames_that_are_left_out_are_told_of(tmp_path):
    more = {"save_all": True, "append_images": [Image.new("RGB", (8, 8), BLUE)]}
    for name in ("a.tif", "b.gif", "c.webp"):
        picture(tmp_path, name, **more)
    picture(tmp_path, "d.png")
    description = load_folder(tmp_path).description
    assert "; of 3 with several frames or pages only the first is there" in description
    assert load_folder(tmp_path).description == description


# ---------------------------------------------------------------- metadata


def chunk(kind, body, crc=None):
    return (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) if crc is None else crc)
    )


def segment(marker, body):
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def exif(kind, count, value):
    entry = struct.pack("<HHI", 0x0112, kind, count) + value.ljust(4, b"\0")
    return b"II*\0\x08\0\0\0\1\0" + entry + bytes(4) + struct.pack("<II", 13, 2)


#: orientations of every type, and out of range
TURNS = [
    *((kind, count, b"\x39\0\0\0") for kind in (0, 1, 2, 6, 7, 13, 99) for count in (0, 1, 4)),
    *((3, 1, struct.pack("<H", value)) for value in (0, 9, 255, 65535)),
    *((kind, 1, struct.pack("<I", 26)) for kind in (5, 10, 12)),
    (3, 2**31, b"\6\0"),
    (3, 2, b"\x63\0\x63\0"),
    (9, 1, struct.pack("<i", -6)),
    (11, 1, struct.pack("<f", np.nan)),
    (11, 1, struct.pack("<f", 2.5)),
    (2, 2, b"6\0"),
]
CHUNKS = [
    chunk(b"tEXt", b"a\0b", 7),
    chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(3 << 20))),
    chunk(b"zTXt", b"a\0\7"),
    chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(3 << 20))),
    chunk(b"iTXt", b"\xff"),
    chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(3 << 20))),
    chunk(b"iCCP", b"a"),
    chunk(b"iCCP", b"a\0\7xx"),
    *(chunk(kind, b"") for kind in (b"gAMA", b"pHYs", b"cHRM", b"sRGB", b"acTL", b"fcTL", b"tIME", b"sBIT", b"eXIf")),
    chunk(b"eXIf", b"junk"),
    chunk(b"eXIf", b"junk", 9),
    chunk(b"abCd", b"xx", 9),
    chunk(b"\1\2\3\4", b"x"),
]
#: what is transparent: too little of it for colour, for none at all, or with a wrong checksum
TRANSPARENT = [*(chunk(b"tRNS", bytes(n)) for n in (0, 1, 3, 5)), chunk(b"tRNS", bytes(6), 9)]
SEGMENTS = [
    segment(0xE0, b"JFIF\0"),
    segment(0xE1, b"Exif\0\0junk"),
    segment(0xE1, b"Exif\0\0"),
    segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="9">'),
    segment(0xE2, b"ICC_PROFILE\0\1"),
    segment(0xE2, b"ICC_PROFILE\0\0\0"),
    segment(0xE2, b"MPF\0junkjunk"),
    segment(0xE2, b"MPF\0II*\0\x08\0\0\0\xff\xff"),
    segment(0xED, b"Photoshop 3.0\0008BIM\4"),
    segment(0xEE, b"Adobe\0"),
    segment(0xFE, b"\xff\xfe"),
]


def png_with(piece, *, before):
    def spoil(data):
        at = data.index(b"IDAT" if before else b"IEND") - 4
        return data[:at] + piece + data[at:]

    return spoil


def jp2_with(piece, *, before):
    def spoil(data):
        at = data.index(b"jp2c") - 4 if before else len(data)
        return data[:at] + piece + data[at:]

    return spoil


def jpeg_with(piece):
    return lambda data: data[:2] + piece + data[2:]


def tiff_with(*tags):
    """Tags more; those of a type or value that they cannot have."""

    def spoil(data):
        start = struct.unpack_from("<I", data, 4)[0]
        count = struct.unpack_from("<H", data, start)[0]
        entries = [data[at : at + 12] for at in range(start + 2, start + 2 + 12 * count, 12)]
        entries += [struct.pack("<HHII", *tag) for tag in tags]
        page = struct.pack("<H", len(entries)) + b"".join(sorted(entries, key=lambda e: e[1::-1])) + bytes(4)
        return data[:4] + struct.pack("<I", len(data)) + data[8:] + page

    return spoil


#: (format, what is done to the file)
METADATA_ODDITIES = [
    *(("JPEG", jpeg_with(segment(0xE1, b"Exif\0\0" + exif(*turn)))) for turn in TURNS),
    *(("PNG", png_with(chunk(b"eXIf", exif(*turn)), before=True)) for turn in TURNS),
    *(("PNG", png_with(piece, before=before)) for piece in CHUNKS for before in (True, False)),
    *(("PNG", png_with(piece, before=True)) for piece in TRANSPARENT),
    *(
        ("JPEG2000", jp2_with(struct.pack(">I", size) + b"xml <a", before=before))
        for size in (0, 1, 5, 9, 99, 2**31)
        for before in (True, False)
    ),
    *(("JPEG", jpeg_with(piece)) for piece in SEGMENTS),
    ("JPEG", jpeg_with(b"\xff\xe1\0\0")),
    ("PNG", png_with(b"".join(chunk(b"tEXt", b"a%d\0" % i + b"x" * 10**6) for i in range(68)), before=True)),
    *(("TIFF", tiff_with((274, kind, count, 0x39))) for kind in (1, 2, 3, 7, 12, 99) for count in (0, 1, 2)),
    *(("TIFF", tiff_with((tag, 2, 2, 0x36), (296, 3, 1, 3))) for tag in (282, 283)),
    *(("TIFF", tiff_with((tag, 7, 2**31, 2**31))) for tag in (270, 700, 33723, 34377, 34665, 34675, 34853, 50000)),
    *(("TIFF", tiff_with((tag, 2, 4, 0x616263))) for tag in (282, 296, 305, 306, 34665, 34853)),
]


@pytest.mark.parametrize(("format", "spoil"), METADATA_ODDITIES, ids=range(len(METADATA_ODDITIES)))
def test_a_picture_whose_metadata_are_damaged_is_still_a_picture(tmp_path, format, spoil):
    pixels = np.repeat(np.repeat(noise(5, 2, 2, 3), 8, 0), 8, 1)  # of four colours: which way is up shows
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **({"quality": 95, "subsampling": 0} if format == "JPEG" else {}))
    (tmp_path / "a").write_bytes(spoil(file.getvalue()))
    (tmp_path / "a").rename(tmp_path / f"a.{format.lower()}")
    np.testing.assert_allclose(one(tmp_path, size=16).astype(int), pixels.astype(int), atol=40)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF"])
def test_a_picture_stands_upright_whatever_else_is_damaged(tmp_path, format, turn):
    pixels = np.repeat(np.repeat(noise(5, 2, 3, 3), 8, 0), 8, 1)
    tags, file = Image.Exif(), io.BytesIO()
    tags[0x0112] = turn
    if format == "TIFF":
        directory = TiffImagePlugin.ImageFileDirectory_v2()
        directory[0x0112] = turn
        Image.fromarray(pixels).save(file, format, tiffinfo=directory)
    else:
        Image.fromarray(pixels).save(file, format, exif=tags)
    content = file.getvalue()
    damage = {
        "PNG": png_with(chunk(b"iCCP", b"a"), before=True),
        "JPEG": jpeg_with(segment(0xEE, b"Adobe\0")),
        "TIFF": tiff_with((282, 2, 2, 0x36), (296, 3, 1, 3)),
    }[format]
    (tmp_path / f"a.{format.lower()}").write_bytes(content)
    whole = one(tmp_path, size=(20, 24))
    (tmp_path / f"a.{format.lower()}").write_bytes(damage(content))
    np.testing.assert_array_equal(one(tmp_path, size=(20, 24)), whole)


# ---------------------------------------------------------------- what holds only grey


def palette(colours):
    def save(folder):
        image = Image.new("P", (8, 8))
        image.putpalette([level for colour in colours for level in colour])
        image.putdata([k % len(colours) for k in range(64)])
        image.save(folder / "a.png")

    return save


#: (what the pictures are, how many channels the images have)
GREY_ODDITIES = [
    ([saved("a.png", colour=(9, 9, 9))], 1),
    ([saved("a.jpg", colour=(99, 99, 99))], 1),
    ([saved("a.webp", colour=(99, 99, 99), lossless=True)], 1),
    ([saved("a.tif", colour=(99, 99, 99))], 1),
    ([saved("a.png", mode="RGBA", colour=(9, 9, 9, 255))], 1),
    ([saved("a.png", mode="RGBA", colour=(9, 9, 9, 100))], 1),
    ([saved("a.png", mode="LA", colour=(9, 100))], 1),
    ([saved("a.gif", mode="L", colour=9)], 1),
    ([palette([(0, 0, 0), (128, 128, 128), (255, 255, 255)])], 1),
    ([palette([(0, 0, 0), (128, 128, 129)])], 3),
    ([saved("a.png", colour=(9, 9, 9)), saved("b.png", colour=(9, 9, 10))], 3),
    ([saved("a.png", colour=(9, 9, 10)), saved("b.png", colour=(9, 9, 9))], 3),
    ([saved("a.png", mode="CMYK", colour=(0, 0, 0, 99), format="TIFF")], 1),
    ([saved(f"{k}.png", colour=(k, k, k)) for k in range(40)] + [saved("z.png", mode="L", colour=7)], 1),
    ([saved(f"{k}.png", colour=(k, k, k)) for k in range(40)] + [saved("z.png", colour=(7, 7, 8))], 3),
]


@pytest.mark.parametrize(("makes", "channels"), GREY_ODDITIES, ids=range(len(GREY_ODDITIES)))
def test_pictures_that_hold_only_grey_are_grey(tmp_path, monkeypatch, makes, channels):
    monkeypatch.setattr("tinygan.data.store.PIECE", 100)  # so that there are many
    for make in makes:
        make(tmp_path)
    as_they_are, colour = load_folder(tmp_path, size=8), load_folder(tmp_path, size=8, channels=3)
    assert as_they_are.image_shape == (8, 8, channels)
    np.testing.assert_array_equal(np.broadcast_to(as_they_are.images, colour.images.shape), colour.images)
    assert (" grey images " in as_they_are.description) == (channels == 1)
    np.testing.assert_array_equal(load_folder(tmp_path, size=8).images, as_they_are.images)


#: 16 bits, of which a camera uses 10, 12 or 14
DIM_ODDITIES = [
    (1023, "3 of 255 .in 16 bits: 1,023"),
    (4095, "15 of 255 .in 16 bits: 4,095"),
    (16383, "16,383 of 65,535"),
]


@pytest.mark.parametrize(("white", "words"), DIM_ODDITIES)
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_pictures_that_use_little_of_16_bits_are_told_of(tmp_path, white, words, name):
    array(name, np.full((8, 8), white, np.uint16))(tmp_path)
    for _ in range(2):
        with pytest.raises(ValueError, match=f"nearly black, their brightest value is .*{words}"):
            raise ValueError(load_folder(tmp_path, size=8).description)


@pytest.mark.parametrize(
    ("dark", "normal", "told"), [(20, 1, True), (5, 15, True), (1, 3, True), (4, 15, False), (0, 9, False)]
)
def test_a_few_bright_pictures_do_not_hide_that_the_others_are_nearly_black(tmp_path, dark, normal, told):
    for k in range(dark):
        array(f"{k}.png", np.full((8, 8), 4095, np.uint16))(tmp_path)
    for k in range(normal):
        picture(tmp_path, f"normal{k}.png")
    words = f"; {dark} of {dark + normal} that were looked at are nearly black, their brightest value is 15 of 255"
    assert (words in load_folder(tmp_path, size=8).description) == told
    assert ("nearly black" in load_folder(tmp_path, size=8).description) == told


# ---------------------------------------------------------------- labels


#: (names of pictures, the classes, what the description says)
LABEL_ODDITIES = [
    (["a.png", "b.png"], (), "no labels: all pictures lie in one folder"),
    (["x/a.png", "x/b.png"], (), "no labels: all pictures lie in one folder"),
    (["x/y/a.png"], (), "no labels: all pictures lie in one folder"),
    (["cats/a.png", "dogs/b.png"], ("cats", "dogs"), "; labels: the folders cats, dogs"),
    (["all/cats/a.png", "all/dogs/b.png"], ("cats", "dogs"), "; labels: the folders cats, dogs"),
    (["x/y/z/cats/a.png", "x/y/z/dogs/old/b.png"], ("cats", "dogs"), "; labels: the folders cats, dogs"),
    (["pets/cats/a.png", "pets/dogs/b.png", "farm/pigs/c.png"], ("farm", "pets"), "; labels: the folders farm, pets"),
    (["train/cats/a.png", "test/cats/b.png"], (), "no labels: all pictures lie in one folder in each of test, train"),
    (
        ["train/cats/a.png", "test/dogs/b.png"],
        ("cats", "dogs"),
        "; labels: the folders cats, dogs in each of test, train",
    ),
    (
        ["x/Train/b/1/a.png", "x/VAL/c/a.png", "x/test/b/a.png"],
        ("b", "c"),
        "b, c in each of Train, VAL, test, which name",
    ),
    (
        ["train/a.png", "valid/b.png"],
        (),
        "no labels: all pictures lie in one folder in each of train, valid, which name",
    ),
    (
        ["train/cats/a.png", "train/dogs/a.png", "test/1.png"],
        (),
        "no labels: 1 of the pictures, such as test/1.png, lie",
    ),
    (["train/a.png", "cats/b.png"], ("cats", "train"), "; labels: the folders cats, train"),
    (["train/cats/a.png", "train/dogs/b.png"], ("cats", "dogs"), "; labels: the folders cats, dogs"),
    (["all/cats/a.png", "all/b.png"], (), "no labels: 1 of the pictures, such as all/b.png, lie"),
    (["cats/a.png", "dogs/b.png", "c.png"], (), "no labels: 1 of the pictures, such as c.png, lie beside the folders"),
    (["cats/a.png", "c.png", "d.png"], (), "no labels: 2 of the pictures, such as c.png, lie beside the folders"),
]


@pytest.mark.parametrize(("names", "classes", "words"), LABEL_ODDITIES, ids=range(len(LABEL_ODDITIES)))
def test_labels_are_taken_from_folders_or_it_is_said_why_not(tmp_path, names, classes, words):
    for name in names:
        picture(tmp_path, name)
    data = load_folder(tmp_path)
    assert data.classes == classes
    assert (data.labels is None) == (not classes)
    assert words in data.description
