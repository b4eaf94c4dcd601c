"""Whether a new response keeps the form of the one that it would replace."""

from clear_pipeline.scoring.form.kept import ALL_FORMS, FormCheck, lost_form

__all__ = ["ALL_FORMS", "FormCheck", "lost_form"]
