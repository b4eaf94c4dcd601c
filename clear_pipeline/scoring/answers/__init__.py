"""Whether two responses give the same answer: by value where both have one of a known kind."""

from clear_pipeline.scoring.answers.compare import exact_match, is_value, same_answer

__all__ = ["exact_match", "is_value", "same_answer"]
