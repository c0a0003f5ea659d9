"""The languages that categories have names in, and which of them a caller wants."""

from collections.abc import Iterator

# In the order of the columns.
LANGUAGES = ("en", "zh-CN", "de", "fr", "es", "it", "pt-BR", "nl", "pl", "da", "fi", "ja", "ko")
ENGLISH = LANGUAGES[0]

_BY_PRIMARY_SUBTAG = {language.partition("-")[0]: language for language in LANGUAGES}

_LONGEST = 1_000  # characters that are read; browsers send less than a tenth


def language_of(accepted: str) -> str:
    """The best of LANGUAGES for an Accept-Language header (RFC 9110) or a BCP 47 tag; English if there is none.

    A language is taken in whatever region or script there is of it: de-AT is de, zh-TW zh-CN, pt pt-BR.
    """
    ranges = sorted(_ranges(accepted[:_LONGEST]), key=lambda one: -one[1])  # stable: of equals the first
    known = (_BY_PRIMARY_SUBTAG.get(tag.partition("-")[0]) for tag, quality in ranges if quality > 0)
    return next((language for language in known if language), ENGLISH)


def _ranges(accepted: str) -> Iterator[tuple[str, float]]:
    """Language ranges in lower case with their qualities, 0 for what is malformed."""
    for part in accepted.split(","):
        tag, *parameters = (word.strip().lower() for word in part.replace("_", "-").split(";"))
        said = dict(parameter.partition("=")[::2] for parameter in parameters)
        yield tag, _quality(said.get("q", "1"))


def _quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0
