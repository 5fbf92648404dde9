"""Properties of an XMP packet, read and set in its text, so that all else in it stays as it is, to the byte.

A parser says where in the text a property stands; only its value is exchanged. Other properties, the prefixes of their
namespaces, comments and white space are never written anew. The standard is ISO 16684-1 (XMP, part 1).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import escape, unescape

from defocus.errors import DefocusError

__all__ = ["LARGEST", "NAMESPACES", "XmpError", "new_packet", "read_properties", "set_properties"]

LARGEST = 16_000_000
"""Bytes above which XMP is not read: that of an editor with painted masks has some millions."""
NAMESPACES: Mapping[str, str] = {
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "x": "adobe:ns:meta/",
    "defocus": "urn:defocus:xmp:1.0/",
}
"""Usual prefixes of the namespaces that are read and written here; a packet may have others for them."""
_DEEPEST, _MOST_ELEMENTS = 200, 200_000
_ENCODINGS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_ATTRIBUTE = re.compile(rb"""([^\s=/>"']+)\s*=\s*("[^"]*"|'[^']*')""")
_NAME = re.compile(rb"<[^\s/>]+")
_QUOTES = {'"': "&quot;"}
_READ_QUOTES = {"&quot;": '"', "&apos;": "'"}


class XmpError(DefocusError):
    """What should be an XMP packet is none that is understood."""


@dataclass(frozen=True)
class _Property:
    """One place in which a property stands: its value, and the bytes of the text that hold it."""

    name: str
    value: str
    start: int
    end: int
    before: str
    after: str
    """What a new value is written between, in the place of these bytes."""


@dataclass
class _Element:
    tag: str
    """"namespace name"."""
    start: int
    content: int
    empty: bool
    prefixes: dict[str, str]
    text: list[str] = field(default_factory=list)
    children: int = 0
    end: int = 0
    after: int = 0


@dataclass(frozen=True)
class _Packet:
    """A packet that was understood.

    Attributes
    ----------
    data : text in UTF-8, without a byte order mark.
    mark, encoding : byte order mark, and encoding that the file has.
    properties : all simple properties of the namespaces that are read here, in order.
    description : the first rdf:Description, which new properties are put into; None where there is none.
    rdf : the element rdf:RDF.
    """

    data: bytes
    mark: bytes
    encoding: str
    properties: list[_Property]
    description: _Element | None
    rdf: _Element


def read_properties(contents: bytes) -> dict[str, str]:
    """Return the simple properties of a packet that this package knows the namespaces of.

    Parameters
    ----------
    contents : of a sidecar, or the packet embedded in a photograph.

    Returns
    -------
    dict
        Values by name with the usual prefix, such as "xmp:Rating"; of one that stands several times the last.

    Raises
    ------
    XmpError
        If it is not XML, not XMP, too large, or declares entities.

    Examples
    --------
    >>> read_properties(new_packet({"xmp:Rating": "3"}))
    {'xmp:Rating': '3'}
    """
    return {each.name: each.value.strip() for each in _parsed(contents).properties}


def set_properties(contents: bytes, values: Mapping[str, str]) -> bytes:
    """Return a packet with properties set, and all else as it was.

    Parameters
    ----------
    contents : of a sidecar.
    values : by name with the usual prefix. A property that stands in several places is set in each of them.

    Raises
    ------
    XmpError
        As `read_properties`.

    Examples
    --------
    >>> packet = new_packet({"xmp:Rating": "3"}).replace(b"<rdf:RDF", b"<!-- mine --><rdf:RDF")
    >>> changed = set_properties(packet, {"xmp:Rating": "5", "xmp:Label": "Red"})
    >>> read_properties(changed), b"<!-- mine -->" in changed
    ({'xmp:Label': 'Red', 'xmp:Rating': '5'}, True)
    """
    packet = _parsed(contents)
    changes: list[tuple[int, int, str]] = []
    new: dict[str, str] = {}
    for name, value in values.items():
        places = [each for each in packet.properties if each.name == name]
        changes += [(each.start, each.end, f"{each.before}{escape(value, _QUOTES)}{each.after}") for each in places]
        if not places:
            new[name] = value
    if new:
        changes.append(_addition(packet, new))
    data = packet.data
    for start, end, text in sorted(changes, reverse=True):
        data = data[:start] + text.encode("utf-8") + data[end:]
    changed = packet.mark + data.decode("utf-8").encode(packet.encoding)
    if any(read_properties(changed).get(name) != value.strip() for name, value in values.items()):
        raise XmpError("is written in a way that this program cannot change: set the rating in another program.")
    return changed


def new_packet(values: Mapping[str, str]) -> bytes:
    """Return a packet that holds only these properties, as a file of its own.

    Parameters
    ----------
    values : by name with the usual prefix, such as "xmp:Rating".
    """
    used = dict.fromkeys(name.partition(":")[0] for name in values)
    declared = "".join(f'\n    xmlns:{prefix}="{NAMESPACES[prefix]}"' for prefix in used)
    written = "".join(f'\n   {name}="{escape(value, _QUOTES)}"' for name, value in values.items())
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<x:xmpmeta xmlns:x="{NAMESPACES["x"]}">\n'
        f' <rdf:RDF xmlns:rdf="{NAMESPACES["rdf"]}">\n'
        f'  <rdf:Description rdf:about=""{declared}{written}/>\n'
        " </rdf:RDF>\n"
        "</x:xmpmeta>\n"
    ).encode()


def _addition(packet: _Packet, values: Mapping[str, str]) -> tuple[int, int, str]:
    """Where, and with what text, properties that the packet lacks are put into it."""
    place = packet.description or packet.rdf
    declared: dict[str, str] = {}
    attributes = ""
    for name, value in values.items():
        usual, _, local = name.partition(":")
        namespace = NAMESPACES[usual]
        known = place.prefixes | declared
        prefix = next((p for p, space in known.items() if space == namespace and p), None)
        if prefix is None:
            prefix, number = usual, 1
            while prefix in known:
                number += 1
                prefix = f"{usual}{number}"
            declared[prefix] = namespace
        attributes += f' {prefix}:{local}="{escape(value, _QUOTES)}"'
    text = "".join(f' xmlns:{prefix}="{space}"' for prefix, space in declared.items()) + attributes
    tag = _NAME.match(packet.data, place.start)
    assert tag is not None
    if packet.description is not None:
        return tag.end(), tag.end(), text
    rdf = next(prefix for prefix, space in place.prefixes.items() if space == NAMESPACES["rdf"])
    within = f"{rdf}:" if rdf else ""
    # Without a prefix the attribute rdf:about would be in no namespace; it may be left out.
    about = f' {rdf}:about=""' if rdf else ""
    description = f"<{within}Description{about}{text}/>"
    if not place.empty:
        return place.end, place.end, description
    opened = packet.data[place.start : place.after].decode("utf-8").rstrip(">").rstrip("/").rstrip()
    own = tag.group().decode("utf-8")[1:]
    return place.start, place.after, f"{opened}>{description}</{own}>"


def _parsed(contents: bytes) -> _Packet:
    if len(contents) > LARGEST:
        raise XmpError(f"has {len(contents) / 1e6:.0f} MB, more than an XMP sidecar has: it is left as it is.")
    mark = next((each for each in _ENCODINGS if contents.startswith(each)), b"")
    encoding = _ENCODINGS.get(mark, "utf-8")
    try:
        text = contents[len(mark) :].decode(encoding)
    except UnicodeDecodeError:
        raise XmpError("is not text in UTF-8 or UTF-16, as XMP is: it is left as it is.") from None
    # A packet within a photograph may be followed by zeros.
    reader = _Reader(text.encode("utf-8"))
    reader.read()
    rdf = reader.rdf
    if rdf is None:
        raise XmpError("is XML, but holds no XMP: it is left as it is.")
    return _Packet(reader.data, mark, encoding, reader.properties, reader.description, rdf)


class _Reader:
    """Goes through a packet and notes where its simple properties stand."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.properties: list[_Property] = []
        self.description: _Element | None = None
        self.rdf: _Element | None = None
        self._open: list[_Element] = []
        self._count = 0
        # Names are resolved here: expat does not tell prefixes where it resolves them.
        self._expat = expat.ParserCreate("utf-8")
        self._expat.ordered_attributes = True
        self._expat.StartDoctypeDeclHandler = self._refuse_doctype
        self._expat.StartElementHandler = self._start
        self._expat.EndElementHandler = self._end
        self._expat.CharacterDataHandler = self._text

    def read(self) -> None:
        data = self.data.rstrip(b"\0 \r\n\t")
        try:
            self._expat.Parse(data, True)
        except expat.ExpatError as error:
            raise XmpError(f"is not XML ({error}): it is left as it is.") from None

    def _refuse_doctype(self, *_: object) -> None:
        raise XmpError("declares a document type, as XMP never does and as traps do: it is left as it is.")

    def _start(self, name: str, attributes: list[str]) -> None:
        if len(self._open) >= _DEEPEST:
            raise XmpError(f"is nested more than {_DEEPEST} deep, as XMP never is: it is left as it is.")
        self._count += 1
        if self._count > _MOST_ELEMENTS:
            raise XmpError(f"has more than {_MOST_ELEMENTS} elements, as XMP never has: it is left as it is.")
        start = self._expat.CurrentByteIndex
        prefixes = self._open[-1].prefixes if self._open else {"": ""}
        pairs = list(zip(attributes[::2], attributes[1::2], strict=True))
        declared = {key[6:]: value for key, value in pairs if key == "xmlns" or key.startswith("xmlns:")}
        if declared:
            prefixes = prefixes | declared
        for each in (name, *(key for key, _ in pairs)):
            prefix = each.rpartition(":")[0]
            if prefix not in prefixes and prefix not in ("xml", "xmlns"):
                raise XmpError(f"is not XML (the prefix {prefix} is not declared): it is left as it is.")
        content = self._end_of_tag(start)
        empty = self.data[content - 2 : content] == b"/>"
        tag = _resolved(name, prefixes, default=True)
        element = _Element(tag, start, content, empty, prefixes)
        if self._open:
            self._open[-1].children += 1
        if tag == f"{NAMESPACES['rdf']} RDF" and self.rdf is None and len(self._open) <= 1:
            self.rdf = element
        elif tag == f"{NAMESPACES['rdf']} Description" and len(self._open) and self._open[-1] is self.rdf:
            self.description = self.description or element
            self._attributes(element, [key for key, _ in pairs])
        self._open.append(element)

    def _attributes(self, element: _Element, names: list[str]) -> None:
        place = self.data.index(b"<", element.start) + 1
        found = list(_ATTRIBUTE.finditer(self.data, place, element.content))
        assert len(found) >= len(names)
        for match in found:
            name = _usual(_resolved(match.group(1).decode("utf-8"), element.prefixes, default=False))
            if name is not None:
                value = unescape(match.group(2)[1:-1].decode("utf-8"), _READ_QUOTES)
                self.properties.append(_Property(name, value, *match.span(2), '"', '"'))

    def _end(self, _: str) -> None:
        element = self._open.pop()
        element.end = self._expat.CurrentByteIndex
        element.after = element.content if element.empty else self.data.index(b">", element.end) + 1
        in_description = (
            len(self._open) >= 2
            and self._open[-2] is self.rdf
            and self._open[-1].tag == f"{NAMESPACES['rdf']} Description"
        )
        name = _usual(element.tag)
        if not in_description or name is None or element.children:
            return
        if element.empty:
            tag = self.data[element.start : element.after].decode("utf-8")
            own = tag[1:].split("/")[0].split()[0]
            opened = f"{tag[:-2].rstrip()}>"
            self.properties.append(_Property(name, "", element.start, element.after, opened, f"</{own}>"))
        else:
            self.properties.append(_Property(name, "".join(element.text), element.content, element.end, "", ""))

    def _text(self, text: str) -> None:
        if self._open:
            self._open[-1].text.append(text)

    def _end_of_tag(self, start: int) -> int:
        """The byte after a start tag; a ">" may stand within quotes."""
        quote = 0
        for place in range(start, len(self.data)):
            byte = self.data[place]
            if quote:
                quote = 0 if byte == quote else quote
            elif byte in b"\"'":
                quote = byte
            elif byte == 0x3E:
                return place + 1
        return len(self.data)


def _resolved(name: str, prefixes: Mapping[str, str], *, default: bool) -> str:
    prefix, colon, local = name.rpartition(":")
    if not colon:
        return f"{prefixes.get('', '') if default else ''} {name}"
    return f"{prefixes.get(prefix, '')} {local}"


def _usual(resolved: str) -> str | None:
    """The name with its usual prefix; None for a name of any other namespace."""
    namespace, _, local = resolved.partition(" ")
    return next(
        (f"{prefix}:{local}" for prefix, space in NAMESPACES.items() if space == namespace and prefix in _READ), None
    )


_READ = ("xmp", "defocus")
