"""The client: a pure core of requests and answers, with a blocking and an asyncio shell."""
