"""A window in words."""

from daxmap.picture import words
from daxmap.picture.survey import Survey
from daxmap.sizes import rough_size
from daxmap.textwidth import neutral

__all__ = ["place", "summary", "title"]


def title(survey: Survey, limit: int, encoding: str = "utf-8") -> str:
    """Which window it is, neutral and in at most `limit` columns, at least 20."""
    if not survey.name:
        return "DAX window"
    name = words.shorten(neutral(survey.name, encoding), limit - len('DAX window ""'), words.ellipsis(encoding))
    return f'DAX window "{name}"'


def place(survey: Survey) -> str:
    """How large it is and where, and whether a guest can write through it, or use it at all."""
    where = f"{rough_size(survey.size)} at {words.address_range(survey.base, survey.size)}"
    return where + ", read-only" * survey.readonly + ", closed" * survey.closed


def summary(survey: Survey) -> str:
    """What is mapped there. A page that is mapped twice counts twice."""
    if not survey.shown:
        return "nothing is mapped"
    tally = survey.tally()
    mappings = words.count(len(survey.shown), "mapping")
    files = words.count(len({one.file for one in survey.shown}), "file")
    text = f"{mappings} of {files}: {rough_size(tally.mapped)} mapped"
    if not tally.unknown:
        text += f", {rough_size(tally.resident)} resident"
    if tally.past_end:
        text += f", {rough_size(tally.past_end)} past the end of a file"
    return text
