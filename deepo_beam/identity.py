"""What makes two mentions of an image the same image: normalised URI, canonical crop, and their hash.

Pure, and frozen: ``image_id`` is a key of every table and of the journal. A change here is a new rule with a
new number, never an edit of this one.

**Rule 1 of URIs** (:func:`normalise_uri`)

1. Empty text, control characters (Unicode category Cc, NUL among them) and lone surrogates are refused.
2. Text without ``scheme://`` is a local path. ``file://`` followed by an absolute path is that path, byte for
   byte: nothing is %-decoded. A local path becomes absolute, with ``.``, ``..`` and doubled slashes
   collapsed in the text alone: symbolic links are kept.
3. The scheme becomes lower-case; ``s3a`` and ``s3n`` are ``s3``, ``gcs`` is ``gs``, ``azfs`` and ``abfss``
   are ``abfs``.
4. The host (bucket, account) of ``s3``, ``gs``, ``abfs``, ``http`` and ``https`` becomes lower-case. Other
   schemes keep theirs: in ``hdfs://Photos/a.jpg`` it may be a folder, and folders have a case.
5. What follows the host is kept byte for byte: no %-decoding, ``//``, ``?`` and ``#`` are part of a key.
6. ``http`` and ``https`` only: the fragment and ``user:password@`` are dropped, and those query parameters
   that sign a URL, for a signature changes nightly and the image does not. The others stay, in order. Names
   are compared in lower case. Signature parameters are all ``X-Amz-*`` and ``X-Goog-*``, and those of
   :data:`SIGNATURE_GROUPS` where the marks of the group are all there: an innocent ``?se=3`` stays.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
SCHEME_ALIASES: Mapping[str, str] = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "azfs": "abfs", "abfss": "abfs"}
_HOST_HAS_NO_CASE = frozenset({"s3", "gs", "abfs", "http", "https"})
_UNUSABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

SIGNATURE_PREFIXES = ("x-amz-", "x-goog-")
_SAS = "sig sv se st sp sr si ss srt spr sip sdd saoid suoid scid skoid sktid skt ske sks skv ses"
#: (the parameters that must all be there, the parameters that are then dropped), lower-case.
SIGNATURE_GROUPS: tuple[tuple[frozenset[str], frozenset[str]], ...] = (
    # AWS signature version 2, Amazon S3 "Authenticating REST requests", query string authentication.
    (frozenset({"awsaccesskeyid", "signature"}), frozenset({"awsaccesskeyid", "signature", "expires"})),
    # CloudFront signed URLs, canned and custom policy.
    (
        frozenset({"key-pair-id", "signature"}),
        frozenset({"key-pair-id", "signature", "expires", "policy"}),
    ),
    # Google Cloud Storage, V2 signing process.
    (frozenset({"googleaccessid", "signature"}), frozenset({"googleaccessid", "signature", "expires"})),
    # Azure Storage shared access signatures: account, service and user delegation SAS.
    (frozenset({"sig", "sv"}), frozenset(_SAS.split())),
)


def normalise_uri(text: str) -> str:
    """Return the one spelling of an image's URI under rule 1 (see the module's head).

    Args:
        text: a local path (relative ones are taken from the working directory) or a URI.

    Returns:
        The normalised URI; normalising it again changes nothing.

    Raises:
        ValueError: empty, unusable characters, or no host or key where the scheme needs one; the message
            says which.
    """
    refuse_unusable(text)
    match = SCHEME.match(text)
    if match is None:
        return _absolute(text)
    scheme = match.group(1).lower()
    scheme = SCHEME_ALIASES.get(scheme, scheme)
    rest = text[match.end() :]
    if scheme == "file":
        if not rest.startswith("/"):
            raise ValueError(f"{text!r} names no absolute path; write file:///folder/name or the path alone")
        return _absolute(rest)
    if scheme in ("http", "https"):
        return f"{scheme}://{_without_signature(rest, text)}"
    host, slash, key = rest.partition("/")
    if scheme in _HOST_HAS_NO_CASE:
        host = host.lower()
        if not host or not key:
            raise ValueError(f"{text!r} names no object; it should read {scheme}://bucket/key")
    elif not key and not host:
        raise ValueError(f"{text!r} names no object")
    return f"{scheme}://{host}{slash}{key}"


def refuse_unusable(text: str) -> None:
    """Raise ValueError if no URI may look like this: empty, or with characters that no table can hold."""
    if not text:
        raise ValueError("the URI is empty")
    if (bad := _UNUSABLE.search(text)) is not None:
        raise ValueError(f"the URI has an unusable character, {bad.group()!a} at position {bad.start() + 1}: rename it")


def canonical_crop(value: Mapping[str, Any] | str | None) -> str | None:
    """Return the canonical JSON of a crop, None for the whole image.

    Args:
        value: ``{"bbox": B}`` or ``{"polygon": P}`` (or that as JSON text), B being
            ``{xmin, ymin, xmax, ymax}`` or ``[xmin, ymin, xmax, ymax]``, P at least three ``{x, y}`` or
            ``[x, y]``, B and P possibly as JSON text. A null or empty B or P counts as absent. All numbers
            are finite, 0..1 of the image, origin top-left (Deepomatic API v0.7, "Inference").

    Returns:
        Compact JSON with sorted keys and every number as the shortest float that reads back the same:
        ``{"bbox":{"xmax":1.0,"xmin":0.5,"ymax":1.0,"ymin":0.0}}``, or None.

    Raises:
        ValueError: anything else; the message says what.
    """
    crop = _from_json(value)
    if crop is None:
        return None
    if not isinstance(crop, Mapping) or not set(crop) <= {"bbox", "polygon"}:
        raise ValueError(f"a crop is an object with bbox or polygon, not {_shown(crop)}")
    bbox, polygon = _from_json(crop.get("bbox")), _from_json(crop.get("polygon"))
    if bbox is not None and polygon is not None:
        raise ValueError("a crop has either a bbox or a polygon, not both")
    if bbox is not None:
        return _compact({"bbox": _bbox(bbox)})
    if polygon is not None:
        return _compact({"polygon": _polygon(polygon)})
    return None


def image_id(uri: str, crop: str | None) -> str:
    """Return the identity of an image: the first 128 bits of SHA-256 over ``uri NUL crop``, as 32 hex digits.

    Args:
        uri: a normalised URI (it cannot hold a NUL, so the separator is unambiguous).
        crop: canonical JSON, None (hashed as empty text) for the whole image.
    """
    return _digest(f"{uri}\0{crop or ''}")


def problem_id(source: str, text: str) -> str:
    """Return a stable identity for an entry without a usable URI: the hash over ``NUL source NUL text``.

    No image has it, for no URI begins with NUL. Any text is taken, lone surrogates too.
    """
    return _digest(f"\0{source}\0{text}")


def bucket_of(image_id: str, buckets: int) -> int:
    """Return ``image_id`` (hex digits) modulo ``buckets`` (>= 1): the journal bucket, 0..buckets - 1."""
    return int(image_id, 16) % buckets


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _absolute(path: str) -> str:
    if path[0] == "/" and path[-1] != "/" and "//" not in path and "/." not in path:
        return path  # nothing to collapse, as in nearly all listings
    path = os.path.abspath(path)  # noqa: PTH100 (resolve() would follow symbolic links)
    return path[1:] if path.startswith("//") else path  # POSIX lets a path begin with two slashes


def _without_signature(rest: str, text: str) -> str:
    """Clean ``host/path?query#fragment`` of everything that is not the image's address."""
    rest = rest.partition("#")[0]
    end = re.search(r"[/?]|$", rest)
    cut = end.start() if end is not None else len(rest)
    host, (path, mark, query) = rest[:cut].rpartition("@")[2].lower(), rest[cut:].partition("?")
    if not host:
        raise ValueError(f"{text!r} names no host")
    if not mark:
        return host + path
    parameters = [(piece.partition("=")[0].lower(), piece) for piece in query.split("&")]
    names = {name for name, _ in parameters}
    dropped = {name for marks, group in SIGNATURE_GROUPS if marks <= names for name in group}
    kept = [piece for name, piece in parameters if name not in dropped and not name.startswith(SIGNATURE_PREFIXES)]
    if len(kept) == len(parameters):
        return host + path + mark + query
    return host + path + (f"?{'&'.join(kept)}" if any(kept) else "")


def _from_json(value: Any) -> Any:
    """Read JSON text; empty text is None, what is no text passes unchanged."""
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"a crop that is no JSON: {_shown(value)}") from error


def _bbox(value: Any) -> dict[str, float]:
    sides = ("xmin", "ymin", "xmax", "ymax")
    if isinstance(value, Mapping) and set(value) == set(sides):
        box = {side: _unit(value[side], f"bbox.{side}") for side in sides}
    elif _is_list(value) and len(value) == len(sides):
        box = {side: _unit(number, f"bbox.{side}") for side, number in zip(sides, value, strict=True)}
    else:
        raise ValueError(f"a bbox has xmin, ymin, xmax and ymax, in this order if in a list, not {_shown(value)}")
    if box["xmin"] >= box["xmax"] or box["ymin"] >= box["ymax"]:
        raise ValueError(f"a bbox needs xmin < xmax and ymin < ymax, not {_shown(value)}")
    return box


def _polygon(value: Any) -> list[dict[str, float]]:
    if not _is_list(value) or len(value) < 3:
        raise ValueError(f"a polygon is a list of at least three points, not {_shown(value)}")
    return [_point(point) for point in value]


def _point(value: Any) -> dict[str, float]:
    if isinstance(value, Mapping) and set(value) == {"x", "y"}:
        return {axis: _unit(value[axis], f"polygon.{axis}") for axis in ("x", "y")}
    if _is_list(value) and len(value) == 2:
        return {axis: _unit(number, f"polygon.{axis}") for axis, number in zip("xy", value, strict=True)}
    raise ValueError(f"a point of a polygon has x and y, not {_shown(value)}")


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _unit(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"{name} is a number from 0 to 1, not {_shown(value)}")
    return float(value) + 0.0  # -0.0 becomes 0.0


def _compact(crop: Mapping[str, Any]) -> str:
    return json.dumps(crop, sort_keys=True, separators=(",", ":"))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
