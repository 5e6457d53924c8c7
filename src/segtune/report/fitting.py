"""A fit from the settings to the report: what `segtune fit` does, for the command line and for Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segtune.core.progress import SILENT, Progress

if TYPE_CHECKING:
    from segtune.runs.finetune import FitResult
    from segtune.runs.settings import SettingsWithOrigins


def finetune(settings: SettingsWithOrigins, *, resume: bool = False, progress: Progress = SILENT) -> FitResult | None:
    """Tune a model as suits the number of its images, and write the report: `segtune fit`.

    Takes, returns and raises what `segtune.runs.finetune.finetune` does, which runs it with the settings as they are.
    """
    from segtune.runs.data_size import count_training_images, suit_data, tell_choice

    images = count_training_images(settings.settings.data)
    settings = suit_data(settings, images)
    # What was chosen for a run that is gone on with stands in its folder.
    if (told := tell_choice(settings, images)) and not resume:
        progress.say(told)
    return fit_and_report(settings, resume=resume, progress=progress)


def fit_and_report(
    settings: SettingsWithOrigins, *, resume: bool = False, progress: Progress = SILENT
) -> FitResult | None:
    """Run a fit with its settings as they are, and write its report; None in every process but the first."""
    from segtune.report.page import write_report
    from segtune.report.pictures import pictures_of
    from segtune.runs.finetune import finetune as fit

    result = fit(settings, resume=resume, progress=progress)
    if result is not None:
        write_report(result.folder, pictures_of(result.proof), progress)
    return result
