"""Independent pieces of work through a standard executor, each kept as it finishes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator
from concurrent.futures import (
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    as_completed,
)
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from sandbox.bench.claim import Run

__all__ = ["SerialExecutor", "open_executor", "resumable_map"]

P = ParamSpec("P")
T = TypeVar("T")


class SerialExecutor(Executor):
    """Runs every call at once, in this process, through the standard interface."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call the function now and return its finished future.

        Parameters
        ----------
        fn : callable
            What to call.
        *args, **kwargs : object
            Its arguments.

        Returns
        -------
        concurrent.futures.Future
            Already done, with the result or the exception.
        """
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as problem:
            future.set_exception(problem)
        return future


class _LazyPool(Executor):
    """A process pool that starts its workers with the first call."""

    def __init__(self, workers: int, file: Path | None) -> None:
        self._workers, self._file = workers, file
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        if self._pool is None:
            # spawned, not forked: the parent may already run torch's and numba's threads
            self._pool = ProcessPoolExecutor(
                self._workers,
                multiprocessing.get_context("spawn"),
                _prepare_worker,
                (self._file,),
            )
        return self._pool.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait, cancel_futures=cancel_futures)


def _prepare_worker(file: Path | None) -> None:
    """Give a worker one thread, its parent's fate, and the user's file if there is one."""
    # Ctrl-C reaches the workers too; they go quietly, and the parent tells what happened
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"
    from sandbox.bench.registry import load_file
    from sandbox.bench.sources import ROOT

    if file is not None and not file.is_relative_to(ROOT / "sandbox"):
        load_file(file)


def _die_with_parent() -> None:
    """End this process as soon as its parent is gone, killed or not."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def open_executor(workers: int, file: Path | None = None) -> Generator[Executor]:
    """Open an executor and close it afterwards, dropping what waits.

    Ctrl-C, or leaving a generator that holds it open, drops what is being computed as well.

    Parameters
    ----------
    workers : int
        Number of processes; 1 runs everything in this process.
    file : pathlib.Path or None
        The file that states the claim whose pieces are worked on; workers import it.

    Yields
    ------
    concurrent.futures.Executor
        The executor.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C.
    GeneratorExit
        When a generator that holds it open is closed.
    """
    executor: Executor = SerialExecutor() if workers == 1 else _LazyPool(workers, file)
    others = set(multiprocessing.active_children())
    try:
        yield executor
    except (KeyboardInterrupt, GeneratorExit):
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def resumable_map(
    run: Run, function: Callable[[Any], dict[str, Any]], items: list[Any], name: str
) -> list[dict[str, Any]]:
    """Apply ``function`` to every item, keeping each result in the run's folder.

    Parameters
    ----------
    run : Run
        Supplies executor, folder and progress bar.
    function : callable
        Module-level function of one item, returning a dict of numbers, strings
        and numeric arrays.
    items : list
        What to work through.
    name : str
        Names the pieces on disk.

    Returns
    -------
    list of dict
        Results in the order of the items.

    Raises
    ------
    Exception
        The first that an item raised; no new item is begun, and what others have
        finished by then is kept.
    """
    folder = run.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    results: list[dict[str, Any] | None] = [_read(folder / f"{i}.npz") for i in range(len(items))]
    waiting = [i for i, result in enumerate(results) if result is None]
    if isinstance(run.executor, SerialExecutor):
        for i in run.progress(waiting, label=name):
            results[i] = _keep(folder / f"{i}.npz", function(items[i]))
    else:
        futures = {run.executor.submit(function, items[i]): i for i in waiting}
        problem: Exception | None = None
        for future in run.progress(as_completed(futures), label=name, total=len(futures)):
            i = futures[future]
            try:
                results[i] = _keep(folder / f"{i}.npz", future.result())
            except CancelledError:
                continue
            except Exception as caught:
                problem = problem or caught
                for other in futures:
                    other.cancel()
        if problem is not None:
            raise problem
    return [result for result in results if result is not None]


def _keep(path: Path, result: dict[str, Any]) -> dict[str, Any]:
    """Write one result atomically and return it as it will be read back."""
    import numpy as np

    if not isinstance(result, dict):
        raise TypeError(f"{path.parent.name}: {result!r} must be a dict")
    arrays = {key: np.asarray(value) for key, value in result.items()}
    for key, array in arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"{path.parent.name}: {key!r} is neither number, string nor array")
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.rename(path)
    kept = _read(path)
    assert kept is not None
    return kept


def _read(path: Path) -> dict[str, Any] | None:
    """Return a kept result, or None if it is not there or was cut short."""
    import zipfile

    import numpy as np

    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (FileNotFoundError, zipfile.BadZipFile, EOFError, ValueError):
        return None
    return {key: array.item() if array.ndim == 0 else array for key, array in arrays.items()}
