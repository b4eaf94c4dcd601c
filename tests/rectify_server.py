"""100 rows, ten of them bad, and how a server corrects and judges them."""

from __future__ import annotations

import json
import math
import re

from aiohttp import web

from stub_server import Body, answer, completion, text_choice

ROWS = 100
BAD = range(0, ROWS, 10)
OTHER_KEYS = 11
DAMAGED = 12
"""A good row for which the model writes something else, and the judge prefers that a little."""

_RESPONSE = re.compile(r"<response-([AB])>\n(.*?)\n</response-\1>", re.DOTALL)


def response(number: int) -> str:
    word = "old" if number in BAD else "right"
    return json.dumps({"answer": f"{word} {number}", "why": None})


def candidate(number: int) -> str:
    if number == OTHER_KEYS:
        return json.dumps({"result": "else"})
    word = {DAMAGED: "else"}.get(number, "right")
    return json.dumps({"answer": f"{word} {number}", "why": None})


def is_right(shown: str) -> float:
    """How surely the judge calls a response right: the preference is 0.9025 / 0.905 or 0.8."""
    if "else" in shown:
        return 0.8
    return 0.5 if f"right {DAMAGED}" in shown else 0.95 if "right" in shown else 0.05


async def reply(body: Body) -> web.StreamResponse:
    """Write candidates, in sight of two responses call one right or not, score anything."""
    text = str(body["messages"][-1]["content"])
    if body.get("response_format", {}).get("type") == "json_object":
        number = int(re.findall(r"\d+", text)[0])
        texts = [candidate(number)] * body.get("n", 1)
        choices = [text_choice(said, index=i) for i, said in enumerate(texts)]
        return web.json_response(completion(body, choices))
    asked = re.search(r"Is response ([AB]) the right", text)
    if asked is None:
        return await answer(body)
    yes = is_right(dict(_RESPONSE.findall(text))[asked[1]])
    listed = [
        {"token": word, "logprob": math.log(p)} for word, p in (("Yes", yes), ("No", 1 - yes))
    ]
    logprobs = {"content": [{**listed[0], "top_logprobs": listed}]}
    return web.json_response(completion(body, [text_choice("Yes", logprobs=logprobs)]))
