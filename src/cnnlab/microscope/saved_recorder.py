"""What a saved page holds, and the recorder that fills it part by part and says in sentences what it recorded."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cnnlab.microscope.protocol import complete, encode, key
from cnnlab.microscope.saved_parts import (
    MOST_UNITS,
    Progress,
    no_progress,
    page_pictures,
    recorded_explanations,
    recorded_methods,
    recorded_units,
    recorded_visualisations,
    stage_ends,
    strongest_units,
)

if TYPE_CHECKING:
    from cnnlab.microscope.session import Microscope


@dataclass(frozen=True)
class Contents:
    """What a saved page holds.

    Attributes:
        replies: frames by the keys of their requests, with that to ``open``.
        programs: networks that the page runs to compute further replies, by the JSON of ``[model, epoch]``; None where
            it runs none.
        pictures: pictures by the addresses of their images.
        input: ``size``, ``channels``, ``mean`` and ``std`` of what the networks take.
        notes: sentences that say what is in the file and what is not.
    """

    replies: Mapping[str, bytes]
    programs: Mapping[str, Any] | None
    pictures: Mapping[str, Any]
    input: Mapping[str, Any]
    notes: Sequence[str]


@dataclass
class Room:
    """How many bytes of deflated data still fit into a page.

    Attributes:
        left: the number of bytes.
        whole: the room of which this is a part.
    """

    left: int
    whole: Room | None = None

    def takes(self, data: bytes) -> bool:
        """Return whether data fits, and count it; what does not fit is not counted."""
        if len(data) > self.left or (self.whole is not None and not self.whole.takes(data)):
            return False
        self.left -= len(data)
        return True


@dataclass
class Recorder:
    """Records parts of a page, and says in sentences what was recorded.

    Attributes:
        microscope: the network with its images.
        opened: the reply to ``open``.
        command: the command that opens the network itself.
        visualise: number of feature visualisations of each network.
        progress: a function that is told what is done.
        replies, pictures: what was recorded; see :class:`Contents`.
        says: sentences about the parts of the file by the names under which the page asks for them.
        methods: names of the methods of explanation that are in the file.
    """

    microscope: Microscope
    opened: Mapping[str, Any]
    command: str = "cnnlab look"
    visualise: int = 0
    progress: Progress = no_progress
    replies: dict[str, bytes] = field(default_factory=dict)
    pictures: dict[str, Any] = field(default_factory=dict)
    says: dict[str, str] = field(default_factory=dict)
    methods: set[str] = field(default_factory=set)

    def take_pictures(self, images: Sequence[str]) -> None:
        """Take the images of the page, in place of smaller copies that go with top images."""
        self.pictures.update(page_pictures(self.microscope, images))

    def record_explanations(self, images: Sequence[str], room: Room) -> None:
        """Record the explanations of images, as long as there is room."""
        methods = recorded_methods(self.microscope, self.opened)
        total = len(images) * len(self.opened["models"])
        scenes = [(model, image) for image in images for model in range(len(self.opened["models"]))]
        for number, (model, image) in enumerate(scenes):
            self.progress("explanations", number, total)
            replies = recorded_explanations(self.microscope, model, image, methods)
            if not room.takes(deflated(b"".join(replies.values()))):
                break
            self.replies |= replies
            self.methods |= {json.loads(name)["method"] for name in replies}
        every = len(methods) == len(self.opened["explanations"])
        which = "all methods" if every else f"the {len(methods)} methods that take few passes through the network"
        self.says["explanations"] = (
            f"This file has the explanations of its images by {which}, each for the network's own answer."
            if self.methods
            else "This file has no explanations."
        )

    def record_units(self, room: Room, *, every: bool) -> None:
        """Record classes and top images of units: of every one, or of the layers with which stages end."""
        images, texts = self.opened["images"], list[str]()
        for model, subject in enumerate(self.microscope.subjects):
            if subject.units is None:
                texts.append("no top images, for its network comes without data")
                continue
            for text, channels in self._choices(model, every):
                self.progress("top images", model, len(self.microscope.subjects))
                units = recorded_units(self.microscope, model, images[0]["id"], channels)
                new = {name: picture for name, picture in units.pictures.items() if name not in self.pictures}
                if room.takes(deflated(b"".join(units.replies.values()) + encode({"pictures": new}))):
                    self.replies |= units.replies
                    self.pictures |= new
                    texts.append(text)
                    break
            else:
                texts.append("no top images, for which there is no room")
        self.says["units"] = f"This file has {' and '.join(dict.fromkeys(texts))}."

    def _choices(self, model: int, every: bool) -> Iterator[tuple[str, dict[str, Sequence[int]]]]:
        """Yield what to record of the units of a network, the most first: in words, and the channels of each node."""
        graph = self.microscope.player(model)[1].graph
        if every:
            yield (
                "the top images and classes of every unit",
                {node.id: range(node.shape[0]) for node in graph.nodes.values()},
            )
        ends = stage_ends(graph)
        names = f"{', '.join(node.id for node in ends[:-1])} and {ends[-1].id}" if len(ends) > 1 else ends[0].id
        where = f"{names}, the last layers of the stages" if graph.stages else names
        most = max(node.shape[0] for node in ends) if every else MOST_UNITS
        which = "all units" if every else f"up to {MOST_UNITS} units each, the strongest,"
        yield (
            f"the top images and classes of {which} of {where}",
            {node.id: strongest_units(self.microscope, model, node, most) for node in ends},
        )

    def record_visualisations(self, room: Room) -> None:
        """Record as many feature visualisations as are wanted."""
        texts = []
        for model in range(len(self.opened["models"])) if self.visualise else ():
            first = self.opened["images"][0]["id"]
            replies, channels = recorded_visualisations(self.microscope, model, first, self.visualise, self.progress)
            if room.takes(deflated(b"".join(replies.values()))):
                self.replies |= replies
                texts += [f"{node}: {', '.join(map(str, sorted(units)))}" for node, units in channels.items()]
        self.says["visualisations"] = (
            f"This file has feature visualisations of these units: {'; '.join(texts)}."
            if texts
            else "This file has no feature visualisations; `--visualise 20` beside `--save` adds those of 20 units."
        )

    def sentences(self) -> list[str]:
        """Return the sentences about what was recorded."""
        return [self.says[name] for name in ("explanations", "units", "visualisations") if name in self.says]

    def contents(
        self, programs: Mapping[str, Any] | None, changed: Mapping[str, Any], notes: Sequence[str], *, upload: bool
    ) -> Contents:
        """Return the contents of the page.

        Args:
            programs: see :class:`Contents`.
            changed: fields of the reply to ``open`` that are other than those of the microscope.
            notes: sentences that say what is in the file and what is not.
            upload: whether the page takes further images.
        """
        recorded = [json.loads(name) for name in self.replies]
        parts = {one["part"] for one in recorded if one["do"] == "unit"}
        can = {
            "upload": upload,
            "explain": bool(self.methods),
            "top_images": "top_images" in parts,
            "visualise": "visualise" in parts,
        }
        methods = [method for method in self.opened["explanations"] if method["name"] in self.methods]
        saved = {"command": self.command, **self.says}
        opened = {**self.opened, "can": can, "explanations": methods, "saved": saved, **changed}
        preprocess = self.microscope.subjects[0].classifier.preprocess
        takes = {"mean": list(preprocess.mean), "std": list(preprocess.std)} | dict(self.opened["input"])
        rest = f"The rest is shown by the network itself: `{self.command}` opens it."
        replies = {key(complete("open")): encode(opened), **self.replies}
        return Contents(replies, programs, self.pictures, takes, [*notes, rest])


def deflated(data: bytes) -> bytes:
    """Return data deflated without header (RFC 1951), as ``DecompressionStream("deflate-raw")`` reads it."""
    packer = zlib.compressobj(9, wbits=-15)
    return packer.compress(data) + packer.flush()
