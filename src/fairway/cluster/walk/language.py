"""The languages the walk tells in: English as its sentences are written, and their translations. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

from fairway.cluster.walk.korean import KOREAN


class Language(StrEnum):
    """By the code of ISO 639-1 that `fairway demo --lang` takes."""

    ENGLISH = "en"
    KOREAN = "ko"

    def tell(self, sentence: str, /, **values: object) -> str:
        """A sentence of the walk in this language, with the values of its {placeholders}.

        One that has no translation stays English: what the walk judges never hangs on its words.
        """
        return TRANSLATIONS[self].get(sentence, sentence).format(**values)

    def retell(self, line: str) -> str:
        """A line of progress that the lab told in English; in the table its number is {number}."""
        number = _NUMBER.search(line)
        sentence = _NUMBER.sub("{number}", line)
        return self.tell(sentence, number=number and number[0]) if sentence in TRANSLATIONS[self] else line


_NUMBER = re.compile(r"\d+")

TRANSLATIONS: Mapping[Language, Mapping[str, str]] = {Language.ENGLISH: {}, Language.KOREAN: KOREAN}
"""By language: the English sentence as the code has it -> the translation, with the same placeholders."""


class Unseen(LookupError):
    """What a row looks for did not show itself: a sentence and its values, told in the language of the walk."""

    def __init__(self, sentence: str, /, **values: object) -> None:
        super().__init__(Language.ENGLISH.tell(sentence, **values))
        self._sentence, self._values = sentence, values

    def tell(self, language: Language) -> str:
        return language.tell(self._sentence, **self._values)
