"""The openai package against gojet serve."""

import asyncio
import time

import openai

CHAT = [{"role": "system", "content": "You write Go."}, {"role": "user", "content": "func main"}]


def same(what, got, want):
    if got != want:
        raise AssertionError(f"{what}: {got!r}, want {want!r}")


def raises(kind, code, call, **fields):
    """The call must fail with an exception of that kind, whose code is the server's own."""
    try:
        call(**fields)
    except kind as e:
        same(f"code of {str(fields)[:200]}", e.code, code)
        return
    raise AssertionError(f"{str(fields)[:200]} did not raise {kind.__name__}")


def check(server):
    client = openai.OpenAI(base_url=server.url + "/v1", api_key=server.key, max_retries=0)
    same("models", [m.id for m in client.models.list()], ["tiny"])
    same("model", client.models.retrieve("tiny").owned_by, "gojet")
    completions(client)
    chats(client)
    refusals(client, server)
    cancel(client, server)
    asyncio.run(cancel_tasks(server))
    return "completions, chats, streams, refusals, cancellation"


def completions(client):
    ask = dict(model="tiny", prompt="package ", max_tokens=24, temperature=0.8, seed=5)
    alone = client.completions.create(**ask)
    same("usage", alone.usage.completion_tokens <= 24 and alone.usage.prompt_tokens > 0, True)
    same("the same seed", client.completions.create(**ask).choices[0].text, alone.choices[0].text)
    several = client.completions.create(**{**ask, "seed": 4}, n=3)
    same("indices", [c.index for c in several.choices], [0, 1, 2])
    same("the second answer is that of the next seed", several.choices[1].text, alone.choices[0].text)
    same("several prompts", len(client.completions.create(**{**ask, "prompt": ["a", "b"]}, n=2).choices), 4)
    streamed = "".join(c.choices[0].text for c in client.completions.create(**ask, stream=True) if c.choices)
    same("streamed", streamed, alone.choices[0].text)

    greedy = client.completions.create(model="tiny", prompt="func ", max_tokens=12, temperature=0, logprobs=3)
    logs = greedy.choices[0].logprobs
    same("tokens of log-probabilities", len(logs.token_logprobs), greedy.usage.completion_tokens)
    for token, p, top in zip(logs.tokens, logs.token_logprobs, logs.top_logprobs):
        same("the likeliest token is taken", max(top, key=top.get), token)
        same("its log-probability", top[token], p)
    scored = client.completions.create(model="tiny", prompt="func " + greedy.choices[0].text, max_tokens=1, temperature=0, logprobs=0, echo=True)
    tail = scored.choices[0].logprobs.token_logprobs[-1 - len(logs.tokens):-1]
    worst = max(abs(x - y) for x, y in zip(tail, logs.token_logprobs))
    if worst > 1e-3:
        raise AssertionError(f"log-probabilities of an echoed answer are off by {worst}")

    text = greedy.choices[0].text
    if len(text) > 6:
        stopped = client.completions.create(model="tiny", prompt="func ", max_tokens=12, temperature=0, stop=[text[3:6]])
        same("stop", (stopped.choices[0].text, stopped.choices[0].finish_reason), (text[:text.index(text[3:6])], "stop"))


def chats(client):
    ask = dict(model="tiny", messages=CHAT, max_completion_tokens=24, temperature=0.8, seed=7)
    whole = client.chat.completions.create(**ask, logprobs=True, top_logprobs=2)
    same("role", whole.choices[0].message.role, "assistant")
    same("tokens of log-probabilities", len(whole.choices[0].logprobs.content), whole.usage.completion_tokens)
    chunks = list(client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
    same("first chunk", chunks[0].choices[0].delta.role, "assistant")
    same("streamed", "".join(c.choices[0].delta.content or "" for c in chunks if c.choices), whole.choices[0].message.content)
    same("reason", chunks[-2].choices[0].finish_reason, whole.choices[0].finish_reason)
    same("usage", chunks[-1].usage.total_tokens, whole.usage.total_tokens)
    # The client's own assembly of a stream.
    with client.chat.completions.stream(**ask) as stream:
        for _ in stream:
            pass
        try:
            assembled = stream.get_final_completion()
        except openai.LengthFinishReasonError as e:  # which the client makes of an answer that max_tokens ended
            assembled = e.completion
        same("assembled", assembled.choices[0].message.content, whole.choices[0].message.content)


def refusals(client, server):
    chat, complete = client.chat.completions.create, client.completions.create
    raises(openai.BadRequestError, "context_length_exceeded", complete, model="tiny", prompt=[1] * 5000)
    raises(openai.BadRequestError, "invalid_value", chat, model="tiny", messages=[])
    raises(openai.BadRequestError, "unsupported_parameter", chat, model="tiny", messages=CHAT, tools=[{"type": "function", "function": {"name": "f"}}])
    raises(openai.BadRequestError, "unsupported_parameter", chat, model="tiny", messages=CHAT, response_format={"type": "json_object"})
    raises(openai.BadRequestError, "unknown_parameter", complete, model="tiny", prompt="x", extra_body={"nonsense": 1})
    raises(openai.NotFoundError, "model_not_found", complete, model="gpt", prompt="x")
    stranger = openai.OpenAI(base_url=server.url + "/v1", api_key="wrong", max_retries=0)
    raises(openai.AuthenticationError, "invalid_api_key", stranger.models.list)


def cancel(client, server):
    stream = client.completions.create(model="tiny", prompt="func ", max_tokens=1500, stream=True, extra_body={"ignore_eos": True})
    for _, chunk in zip(range(5), stream):
        same("an answer that goes on", chunk.choices[0].finish_reason, None)
    same("running", server.metric("gojet_answers_running"), 1)
    stream.close()
    begun = time.monotonic()
    server.settle("the slot of a stream that was closed")
    if (took := time.monotonic() - begun) > 1:
        raise AssertionError(f"the slot was free after {took:.1f} s, want at once")


async def cancel_tasks(server):
    async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key=server.key, max_retries=0) as client:
        ask = client.completions.create
        tasks = [asyncio.create_task(ask(model="tiny", prompt=f"{i} ", max_tokens=1500 if i < 10 else 16, extra_body={"ignore_eos": True}, temperature=0)) for i in range(20)]
        await asyncio.sleep(0.3)
        for t in tasks[:10]:
            t.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        same("cancelled", [isinstance(d, asyncio.CancelledError) for d in done], [True] * 10 + [False] * 10)
        for i, d in enumerate(done[10:], 10):
            alone = await ask(model="tiny", prompt=f"{i} ", max_tokens=16, extra_body={"ignore_eos": True}, temperature=0)
            same(f"request {i} in company", d.choices[0].text, alone.choices[0].text)
    server.settle("the slots of cancelled requests")
