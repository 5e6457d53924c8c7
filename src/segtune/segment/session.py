"""One image, embedded once, and any number of prompts on it in real time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from segtune.core.errors import ModelError
from segtune.core.files import replacing
from segtune.core.geometry import Frame
from segtune.core.rle import BoolMask
from segtune.core.types import Embedding, Image
from segtune.data.reading import Reading
from segtune.models.device import pick_device
from segtune.models.family import PromptableModel
from segtune.models.fingerprint import fingerprint
from segtune.models.open import open_model
from segtune.prompts.collate import collate
from segtune.prompts.objects import ObjectPrompt
from segtune.rollout import Round, ask, follow
from segtune.segment.answer import Answer, read_answers
from segtune.segment.encoding import device_of, encode_image, evaluating
from segtune.segment.enlarge import Enlarger
from segtune.segment.given import Box, Point, check_embedding, check_image, given_prompt
from segtune.segment.origin import reading_for
from segtune.segment.refine import Cleanup

_FORMAT = "segtune embedding 1"


class Session:
    """An embedded image that answers prompts.

    Args:
        model: any promptable model, or what `open_model` takes. It is switched to evaluation for each answer.
        image: uint8 [H, W, 3] RGB, an image file's path, or the embedding of one image by this model.
        cleanup: of all masks.
        reading: how an image file is read; None: as the run that the model came of read its data.
        device: where a model that is given by name computes: "cpu", "cuda", or "auto", the GPU where there is one. One
            that is open stays where it is.

    Raises:
        UsageError: an array that is no such image, an embedding of several, or no such device.
    """

    def __init__(
        self,
        model: PromptableModel | str | Path,
        image: Image | str | Path | Embedding,
        *,
        cleanup: Cleanup | None = None,
        reading: Reading | None = None,
        device: str = "auto",
    ) -> None:
        self.model = _opened(model, device)
        if isinstance(image, str | Path):
            image = (reading or reading_for(self.model)).read(Path(image))
        if not isinstance(image, Embedding):
            with evaluating([self.model]):
                image = encode_image(self.model, check_image(image))
        self.embedding = check_embedding(image)
        self.cleanup = cleanup
        self._enlarger = Enlarger(self._frame, self.model.mask_size)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image."""
        return self._frame.original

    def segment(
        self,
        *,
        points: Sequence[Point] = (),
        box: Box | None = None,
        mask: BoolMask | None = None,
        text: str | None = None,
        several: bool | None = None,
    ) -> Answer:
        """Segment one object.

        Args:
            points: (x, y) or (x, y, 1) on the object, (x, y, 0) not on it, in original pixels.
            box: x0, y0, x1, y1 with x1, y1 one past the last pixel.
            mask: bool [H, W], where the object roughly is.
            text: what it is, for a model that accepts text; alone, the likeliest one answers.
            several: three masks (whole, part, sub-part), or one; None: three for a single point, which may mean any.

        Raises:
            UsageError: no prompt, or one that does not fit the image.
        """
        prompt = given_prompt(self.size, points=points, box=box, mask=mask, text=text)
        (answer,) = self.segment_all([prompt], several=several)
        return answer

    def segment_all(self, prompts: Sequence[ObjectPrompt], *, several: bool | None = None) -> list[Answer]:
        """Segment one object for each prompt, all of them in one decode.

        Args:
            prompts: as `given_prompt` makes them.
            several: as of `segment`.
        """
        return self.answers(self.decode(prompts, several=several)) if prompts else []

    def decode(self, prompts: Sequence[ObjectPrompt], *, several: bool | None = None) -> Round:
        """Decode prompts; `answers` brings what comes to original size."""
        joined = collate(prompts, [0] * len(prompts), (self._frame,), self.model.mask_size).to(device_of(self.model))
        multimask = None if several is None else torch.full_like(joined.has_box, several)
        with evaluating([self.model]):
            return ask(self.model, self.embedding, joined, multimask=multimask)

    def decode_next(self, current: Round, x: float, y: float, label: int) -> Round:
        """Decode one prompt again, with its best logits fed back and one more click."""
        device = current.prompts.points.device
        clicks = torch.tensor([[x, y]], device=device), torch.tensor([label], device=device)
        with evaluating([self.model]):
            return ask(self.model, self.embedding, follow(current, clicks), number=current.number + 1)

    def answers(self, current: Round) -> list[Answer]:
        """Return the masks of a decode, at original size."""
        return list(read_answers(current, [self._enlarger], self.cleanup, quality_map=self.model.quality_map))

    def save(self, path: Path | str) -> None:
        """Write the embedding, so that `load` needs no image encoder's run.

        Raises:
            ResourceError: the file cannot be written.
        """
        maps = {"features": self.embedding.features} | self.embedding.extra
        note = {"format": _FORMAT, "encoder": fingerprint(self.model), "frame": json.dumps(asdict(self._frame))}
        with replacing(Path(path)) as temporary:
            save_file({name: value.contiguous().cpu() for name, value in maps.items()}, temporary, note)

    @classmethod
    def load(
        cls,
        model: PromptableModel | str | Path,
        path: Path | str,
        *,
        cleanup: Cleanup | None = None,
        device: str = "auto",
    ) -> Session:
        """Open a saved embedding.

        Args:
            model: the one it was made with; decoders may differ, the image encoder may not.
            path: of the file.
            cleanup: of all masks.
            device: as of the session.

        Raises:
            ModelError: no such file, damaged, no embedding, or of another image encoder.
        """
        model = _opened(model, device)
        try:
            with safe_open(path, "pt") as file:
                note = file.metadata() or {}
                maps = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path} cannot be read as an embedding ({error}). Embed the image again.") from error
        if note.get("format") != _FORMAT:
            raise ModelError(f"{path} holds no embedding of an image. Give a file that Session.save wrote.")
        if note["encoder"] != fingerprint(model):
            raise ModelError(
                f"The embedding in {path} was made by another image encoder than this model's, to which it means "
                "nothing. Open it with the model it was made with, or embed the image again."
            )
        told = json.loads(note["frame"])
        frame = Frame(tuple(told["original"]), tuple(told["resized"]), told["side"])
        maps = {name: value.to(device_of(model)) for name, value in maps.items()}
        return cls(model, Embedding(maps.pop("features"), (frame,), maps), cleanup=cleanup)

    @property
    def _frame(self) -> Frame:
        return self.embedding.frames[0]


def _opened(model: PromptableModel | str | Path, device: str) -> PromptableModel:
    return model if isinstance(model, PromptableModel) else open_model(model, device=pick_device(device))
