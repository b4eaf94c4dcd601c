"""What a response begins with before it says anything: courtesies, salutations, headings.

Judged alone such a beginning answers nothing, however good the response is. A short answer
("Paris.", "18", "Yes.") is told from it by its words: in a courtesy each word is one, or a word
that carries none ("That is a great question!"), or it has the form of an offer, of thanks or of an
announcement. What is taken for a courtesy by mistake is judged with what follows it.
"""

from __future__ import annotations

import re
from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_COURTESIES: Final = _words(
    """absolutely alright certainly course definitely delighted excellent fantastic gladly glad good
    great happy hello hey hi interesting ok okay perfect pleasure problem question sorry sure surely
    thank thanks understood welcome wonderful worries wow
    danke dank frage freut gern gerne gute gut hallo klar natürlich selbstverständlich sicher
    absolument avec bien bonjour bonne certainement merci naturellement plaisir salut sûr volontiers
    buena pregunta claro desde encantado gracias gusto hola luego supuesto
    certamente certo certeza ciao domanda grazie obrigado olá pergunta prazer volentieri
    вопрос здравствуйте конечно привет разумеется спасибо удовольствием хороший отличный"""
)
_SMALL: Final = _words(
    """a all am and are be for i i'd i'll i'm is it it's me my no of really request so that that's
    the there this to very we what with you your
    das eine für ist mich sehr vielen
    c'est est la pour très une vous
    muy por que sí un una
    boa com di é sim uma
    за и это"""
)
"""Words that carry nothing beside a courtesy."""

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f])\s*|\n+")

_LONGEST = 300
"""Characters of a courtesy."""

_FORMS = re.compile(
    r"""(?:(?:sure|certainly|absolutely|(?:of\ )?course|great|okay|ok|alright|hi|hello)\W+){0,2}(?:
    (?:i|we)\b[^,;:]{0,30}\b(?:help|assist)\b.*
    |(?:that|this|it|what)(?:['\u2019]s|\ is)?\ an?\ (?:\w+\ ){0,3}(?:question|request|topic)\b.*
    |thank(?:s|\ you)\ .*
    |let(?:['\u2019]s|\ me|\ us)\ (?:\w+\W+){0,9}
    |(?:(?:please\ )?feel\ free|(?:i\ )?hope\ (?:this|that|it))\b[^:]{0,80}
    |here(?:['\u2019]s|\ is|\ are|\ you\ go)\b[^:]{0,80}
    |(?:dear|good\ (?:morning|afternoon|evening)|hi|hello|hey|greetings|hallo|liebe[rs]?
        |sehr\ geehrte[rs]?|bonjour|ch[eè]re?s?|hola|estimad[oa]s?|querid[oa]s?|caro|cara|gentile
        |prezad[oa]s?)\b(?:\W+\w+){0,4}\W{0,3}
    )
    |(?:subject|re|title|to|from|date|betreff|objet|asunto|oggetto|assunto|тема|主题|標題|标题|件名)
        \W{0,4}[:\uff1a].*
    |(?:(?:好的?|好呀|当然(?:可以)?|當然(?:可以)?|可以的?|没问题|沒問題|[你您]好|嗨|感谢.{0,8}|谢谢.{0,8}
        |这.{0,6}问题|.{0,3}很(?:高兴|乐意).{0,12}
        |もちろん(?:です)?|承知(?:いた)?しました|かしこまりました|こんにちは|了解しました|わかりました
        |ありがとうございます|.{0,2}[い良]い質問.{0,4}
        |물론(?:입니다|이죠)?|안녕하세요|좋은\ 질문.{0,4}|알겠습니다|감사합니다)\W*){1,3}""",
    re.VERBOSE,
)

_UNFINISHED = re.compile(
    r"""(?:.*(?:[:\uff1a\uff0c\u3001]|\w,)                 # "Here are two:", "Dear John,"
    |\#{1,6}\ [^\n]*|\*\*[^*\n]+\*\*|[^\n]*\n[=-]{3,} # headings
    |(?:[-*_=]\ ?){3,}|(?:<[^<>\n]{1,200}>\s*)+       # a rule, tags alone
    )\s*""",
    re.VERBOSE | re.DOTALL,
)

UNDERLINE: Final = re.compile(r"\s*(?:={3,}|-{3,})\s*")
"""What makes a heading of the line before it."""

_ROW = re.compile(r"\s*\|.*\|\s*|[^|\n]+(?:\|[^|\n]+){2,}\s*")


def is_opening(text: str) -> bool:
    """Whether a paragraph or sentence only announces what follows it, is its heading or polite."""
    return _UNFINISHED.fullmatch(text) is not None or is_courtesy(text)


def is_courtesy(text: str) -> bool:
    """Whether every sentence is polite or announces something, and none says anything."""
    if len(text) > _LONGEST:
        return False
    sentences = [part for part in _SENTENCE.split(text.strip().casefold()) if part.strip()]
    return bool(sentences) and all(map(_is_polite, sentences))


def goes_on(line: str, following: str) -> bool:
    """Whether two lines are the rows of one table, or a heading and the line under it."""
    table = _ROW.fullmatch(line) is not None and _ROW.fullmatch(following) is not None
    return table or UNDERLINE.fullmatch(following) is not None


def _is_polite(sentence: str) -> bool:
    plain = sentence.strip(" \t\"'*_\u00a1\u00bf\u201c\u201d")
    words = {word.replace("\u2019", "'") for word in _WORD.findall(plain)}
    kind = words <= _COURTESIES | _SMALL and not words.isdisjoint(_COURTESIES)
    return (kind and not any(c.isdigit() for c in plain)) or _FORMS.fullmatch(plain) is not None
