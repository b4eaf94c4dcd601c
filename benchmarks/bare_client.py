"""Sends recorded chat requests again with nothing but `openai[aiohttp]`: no cache, no limits.

    python -m benchmarks.bare_client BODIES --url URL --in-flight 256
    python -m benchmarks.bare_client BODIES --embedded smollm2-135m --in-flight 4 --note NOTED

The second starts the embedded model in this process, as a run does, and notes in NOTED what
`benchmarks.recorded` notes of a run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

import openai
from openai.types.chat import ChatCompletion

from benchmarks.recorded import Traffic


async def send_all(bodies: list[dict[str, Any]], client: openai.AsyncOpenAI, most: int) -> None:
    """Send every body, `most` at a time, in their order."""
    rest = iter(bodies)

    async def worker() -> None:
        for body in rest:
            # What `chat.completions.create` does with its arguments.
            await client.post("/chat/completions", cast_to=ChatCompletion, body=body)

    async with asyncio.TaskGroup() as group:
        for _ in range(most):
            group.create_task(worker())


async def replay(args: argparse.Namespace, url: str) -> None:
    """Send what was recorded to a server."""
    traffic = Traffic()
    http_client = traffic.client() if args.note else openai.DefaultAioHttpClient()
    client = openai.AsyncOpenAI(api_key="none", base_url=url, http_client=http_client)
    with args.bodies.open("rb") as lines:
        bodies = [json.loads(line) for line in lines]
    async with client:
        await send_all(bodies, client, args.in_flight)
    if args.note:
        traffic.write(args.note)


def main() -> None:
    """Read the command line, start the model if there is one to start, and send."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bodies", type=Path)
    server = parser.add_mutually_exclusive_group(required=True)
    server.add_argument("--url", help="base URL, ending in /v1")
    server.add_argument("--embedded", help="name of the embedded model")
    parser.add_argument("--in-flight", type=int, required=True)
    parser.add_argument("--note", type=Path)
    args = parser.parse_args()
    if args.url is not None:
        asyncio.run(replay(args, args.url))
        return
    from clear_pipeline.llm.catalog import embedded_model
    from clear_pipeline.llm.embedded import serve
    from clear_pipeline.llm.pull import obtain
    from clear_pipeline.llm.settings import ModelSettings

    model = embedded_model(ModelSettings(model=args.embedded))
    if model is None:
        parser.error(f"no embedded model: {args.embedded}")
    served = serve(obtain(model, note=print), model.name)
    asyncio.run(replay(args, f"{served.listening_address}/v1"))


if __name__ == "__main__":
    main()
