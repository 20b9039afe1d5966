"""Labs by their files: the study's, which is the default one, and anybody's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from fairway.api.manifest import describe, parse_objects
from fairway.api.resources import BY_KIND
from fairway.api.types import Object
from fairway.base.errors import Refused
from fairway.cluster.images import OPTION, check_image, together
from fairway.cluster.labfields import WrongField, place_of, placed
from fairway.cluster.labfile import LabFile, read_lab_file
from fairway.cluster.layout import lay_out
from fairway.cluster.scenario import STUDY, Scenario
from fairway.cluster.state import state_root
from fairway.kubelet.images import Catalogue, MappedImage, lab_catalogue, parse_reference

STUDY_FILE = STUDY / "lab.yaml"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A file and the objects in it, in its order."""

    path: Path
    objects: Sequence[Object]


def read_manifest(path: Path) -> Manifest:
    """Raises Refused, naming file and object, for what cannot be read or is of a kind that labs do not serve."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError as error:
        raise Refused(f"manifest {path} is not there; paths are taken from the lab file's folder") from error
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise Refused(f"manifest {path}: {why}") from error
    objects = parse_objects(text, source=f"manifest {path}")
    for obj in objects:
        if (obj["apiVersion"], obj["kind"]) not in BY_KIND:
            what = f"{obj['apiVersion']} {obj['kind']} {describe(obj)}"
            raise Refused(f"manifest {path}: {what}: a lab has no objects of this kind")
    return Manifest(path, objects)


def scenario_of(lab: LabFile, *, source: str, images: Mapping[str, str] | None = None) -> Scenario:
    """The lab of a lab file with its images, and its manifests, which are read to see that they can be.

    source: how errors name it, the path of a lab that has images. images: those told beside it, which win.
    Raises Refused as `lay_out`, `read_manifest` and `check_image`, and for a pod that could not run for its image.
    """
    text = _text_of(source)
    scenario = lay_out(lab, source=source, text=text)
    manifests = [_manifest(index, path, source, text) for index, path in enumerate(lab.manifests)]
    pods = [obj["metadata"]["name"] for each in manifests for obj in each.objects if obj["kind"] == "Pod"]
    mapped = _images(lab.images, images or {}, source, text)
    catalogue = lab_catalogue(mapped=mapped)
    for index, manifest in enumerate(manifests):
        if problem := _unknown_image(manifest, catalogue):
            raise placed(WrongField(f"manifests[{index}]", problem), source=source, text=text)
    return replace(
        scenario,
        images=mapped,
        manifests=tuple(each.path for each in manifests),
        bare_pods=tuple(pods),
    )


def _images(file: Mapping[str, str], told: Mapping[str, str], source: str, text: str) -> tuple[MappedImage, ...]:
    found = []
    for name, path in together(file, told).items():
        place = place_of(("images", name), source=source, text=text)
        where = f"{OPTION} {name}" if name in told else f"{place}: images.{name}"
        found.append(check_image(name, path, source=where, private=state_root()))
        if any(image.reference == found[-1].reference for image in found[:-1]):
            raise Refused(f"{where}: the image is given twice; give it one path")
    return tuple(found)


def _unknown_image(manifest: Manifest, catalogue: Catalogue) -> str:
    """What is wrong with the first pod that would wait for its image for ever, and `up` for the pod; "" if none is."""
    for obj in manifest.objects:
        for image in _images_of(obj) if obj["kind"] == "Pod" else ():
            reference = parse_reference(image)
            if reference is not None and catalogue.find(reference) is None:
                return (
                    f"manifest {manifest.path}: Pod {describe(obj)}: a lab has no image {image}; map it to a program "
                    f"or a folder of this machine: {OPTION} {image}=PATH, or `images` in the lab file"
                )
    return ""


def _images_of(pod: Object) -> Iterator[str]:
    """As far as they are where they belong: the API server says what is wrong with the rest."""
    spec = pod.get("spec")
    for field in ("initContainers", "containers"):
        containers = spec.get(field) if isinstance(spec, dict) else None
        for container in containers if isinstance(containers, list) else ():
            image = container.get("image") if isinstance(container, dict) else None
            if isinstance(image, str):
                yield image


def _manifest(index: int, path: str, source: str, text: str) -> Manifest:
    try:
        return read_manifest(Path(path))
    except Refused as error:
        raise placed(WrongField(f"manifests[{index}]", str(error)), source=source, text=text) from None


def _text_of(source: str) -> str:
    """A lab file's, by which errors name lines; "" where there is no such file (any more)."""
    try:
        return Path(source).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def study_lab(*, dual_stack: bool) -> Scenario:
    """The study's cluster, with one address family or two."""
    lab = msgspec.structs.replace(read_lab_file(STUDY_FILE), dual_stack=dual_stack)
    return scenario_of(lab, source=str(STUDY_FILE))


STUDY_LAB = study_lab(dual_stack=False)
"""The four-node cluster of the study."""

DUAL_STACK_LAB = study_lab(dual_stack=True)
"""The same with IPv6 beside IPv4: unique local addresses (RFC 4193) that read like the IPv4 ones."""
