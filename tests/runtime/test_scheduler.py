"""From the computing thread to a reader in the event loop: nothing is lost, woken for or leaked."""

import asyncio
import threading

import pytest

from runtime.engine import Engine, Piece
from runtime.scheduler import Generation, QueueFull, Scheduler
from tests.runtime.scripted import ScriptedBackend

HELLO = [{"role": "user", "content": "hi"}]


def run(test):
    return asyncio.run(asyncio.wait_for(test(), 20))


def test_pieces_that_wait_together_come_as_one_and_the_end_after_them():
    async def test():
        generation = Generation()
        for item in (Piece("a"), Piece("b", tokens=2), Piece("", "stop", 0), None):
            generation.take(item)
        return [piece async for piece in generation.pieces()]

    assert run(test) == [Piece("ab", "stop", 3)]


def test_an_error_comes_after_the_pieces_before_it():
    async def test():
        generation = Generation()
        generation.take(Piece("a"))
        generation.take(RuntimeError("mistake"))
        pieces = generation.pieces()
        assert await anext(pieces) == Piece("a")
        with pytest.raises(RuntimeError, match="mistake"):
            await anext(pieces)

    run(test)


def test_every_piece_of_another_thread_arrives():
    async def test():
        generation = Generation()

        def work():
            for number in range(2000):
                generation.take(Piece(f"{number} "))
            generation.take(None)

        threading.Thread(target=work).start()
        return "".join([piece.text async for piece in generation.pieces()])

    assert run(test).split() == [str(number) for number in range(2000)]


def test_a_reader_whose_loop_is_gone_cancels_its_reply():
    async def test():
        generation = Generation()
        waiting = asyncio.create_task(anext(generation.pieces()))
        await asyncio.sleep(0)
        waiting.cancel()
        return generation

    generation = run(test)
    generation.take(Piece("a"))
    assert generation.cancelled()


def test_as_many_as_the_engine_takes_and_the_queue_holds_are_admitted():
    async def test():
        gate = threading.Semaphore(0)
        backend = ScriptedBackend(b"ab", gate=gate, sequences=2)
        with Engine("scripted", backend) as engine:
            scheduler = Scheduler(1, engine.parallel)
            admitted = [Generation() for _ in range(3)]
            for generation in admitted:
                scheduler.admit(generation, engine.chat(HELLO))
            with pytest.raises(QueueFull, match="try again in 1 s"):
                scheduler.admit(Generation(), engine.chat(HELLO))
            gate.release(100)
            texts = ["".join([p.text async for p in each.pieces()]) for each in admitted]
            scheduler.require_room()
            return texts

    assert run(test) == ["ab"] * 3
