"""A chat endpoint that takes almost no time: fixed answers over a bare asyncio protocol, in a process of its own.

Run as a program, it prints its port and serves until it is terminated. A request with an image is answered with a
description, one without an image with a judge's verdict. `python benchmarks/_endpoint.py --latency 1` answers each
request after a second.
"""

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SENTENCES = "Warm ochres lean against a cool ground, and the brush leaves its ridges standing in the light. " * 3
DESCRIPTION = json.dumps(dict.fromkeys(("perception", "cognition", "emotion"), SENTENCES.strip()))
VERDICT = json.dumps({"consistent": True, "reason": "The text's praise fits the score."})


def reply(text: str) -> bytes:
    """The bytes of a whole HTTP response with a completion of the given text."""
    message = {"role": "assistant", "content": text, "refusal": None}
    content = json.dumps(
        {
            "id": "chatcmpl-0",
            "object": "chat.completion",
            "created": 0,
            "model": "fixed",
            "choices": [{"index": 0, "finish_reason": "stop", "logprobs": None, "message": message}],
            "usage": {"prompt_tokens": 1500, "completion_tokens": 250, "total_tokens": 1750},
        }
    ).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    return head.encode() + content


class FixedAnswers(asyncio.Protocol):
    """One connection of a client, which sends a request only after the answer to the last one."""

    latency = 0.0
    described, judged = reply(DESCRIPTION), reply(VERDICT)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport that answers are written to."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._buffer = bytearray()
        self._needed = 0

    def data_received(self, data: bytes) -> None:
        """Answer when the whole request has arrived, after the latency."""
        self._buffer += data
        if not self._needed:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._buffer[:end]).lower()
            length = head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]
            self._needed = end + 4 + int(length or 0)
        if len(self._buffer) < self._needed:
            return
        answer = self.described if b'"image_url"' in self._buffer else self.judged
        self._buffer.clear()
        self._needed = 0
        if self.latency:
            asyncio.get_running_loop().call_later(self.latency, self._transport.write, answer)
        else:
            self._transport.write(answer)


@contextmanager
def fixed_endpoint(latency: float = 0.0) -> Iterator[str]:
    """Run this file as a program for the duration of a block.

    Args:
        latency: the seconds after which each request is answered; 0 to answer at once.

    Yields:
        The base address of the endpoint, for an OpenAI client.
    """
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve()), "--latency", str(latency)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.terminate()
        process.wait(10)


async def serve(latency: float) -> None:
    """Print the port, then serve until the process is terminated."""
    FixedAnswers.latency = latency
    server = await asyncio.get_running_loop().create_server(FixedAnswers, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds after which a request is answered")
    asyncio.run(serve(parser.parse_args().latency))
