"""Questions to an estimator with a memory, and how its answers are scored."""

from skuhop.estimators.questions.pattern_questions import PatternQuestionsMixin
from skuhop.estimators.questions.scoring import minus_error
from skuhop.estimators.questions.stage_two import StageTwoMixin

__all__ = ["PatternQuestionsMixin", "StageTwoMixin", "minus_error"]
