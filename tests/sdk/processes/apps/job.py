"""A job that does its work in child processes: `job.py fork|spawn|forkserver|pool|os`."""

import multiprocessing
import os
import select
import signal
import sys

from opentelemetry import trace

import firstcause


def work(name: str) -> int:
    """One span and one line, in whatever process."""
    trace.get_tracer("job").start_span(name).end()
    firstcause.get_logger().info("worked", name=name)
    return os.getpid()


def main(how: str) -> None:
    """Four pieces of work in children, one here."""
    work("parent before")
    if how == "os":
        for number in range(4):
            if os.fork() == 0:
                work(f"child {number}")
                sys.exit(0)
        for _ in range(4):
            os.wait()
    elif how == "pool":
        from concurrent.futures import ProcessPoolExecutor

        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
            list(pool.map(work, [f"child {number}" for number in range(4)]))
    elif how == "terminated":
        context = multiprocessing.get_context("fork")
        ready = context.Barrier(5)
        children = [context.Process(target=until_killed, args=(f"child {n}", ready)) for n in range(4)]
        for child in children:
            child.start()
        ready.wait()
        for child in children:
            child.terminate()
            child.join()
            assert child.exitcode == -signal.SIGTERM
    else:
        context = multiprocessing.get_context(how)
        children = [context.Process(target=work, args=(f"child {number}",)) for number in range(4)]
        for child in children:
            child.start()
        for child in children:
            child.join()
    work("parent after")


def until_killed(name: str, ready: object) -> None:
    """Work, and wait for the end."""
    rung, bell = os.pipe()
    os.set_blocking(bell, False)
    # `pause` would miss a signal that comes just before it.
    signal.set_wakeup_fd(bell)
    work(name)
    ready.wait()  # type: ignore[attr-defined]
    select.select([rung], [], [])


firstcause.configure(service="job")
if __name__ == "__main__":
    main(sys.argv[1])
