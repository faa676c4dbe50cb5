"""The checkpoints of a run's folder, each complete or absent.

    runs/digits/run.json    the config of the run, written once
    runs/digits/.lock       locked by the process that trains in it
    runs/digits/400/        the state after 400 steps, as Orbax writes it, with manifest.json:
                            the data position, every tensor's shape, every file's checksum

Orbax's CheckpointManager writes in the background, into a folder that gets its name when it
is complete, and decides which checkpoints are kept. This layer adds what it lacks: files
are checked against their checksums before they are restored, a broken checkpoint is set
aside for the one before it, a folder belongs to one run, and the data position is exact.
"""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import jax

from explorer.arguments import check_kinds
from explorer.errors import (
    FormatError,
    InputError,
    check_path,
    check_type,
)
from explorer.training.checkpoints import orbax_store, step_folders
from explorer.training.checkpoints.manifest import (
    Manifest,
    describe,
    read_manifest,
    write_manifest,
)
from explorer.training.checkpoints.restoring import restored
from explorer.training.checkpoints.retention import Best, retention_of
from explorer.training.checkpoints.run_folder import RunFolder, lock_run_folder
from explorer.training.data.loaders import go_to
from explorer.training.sharding.processes import on_first, together
from explorer.tree.arrays import check_arrays, check_not_donated
from explorer.tree.types import PyTree

__all__ = ["Checkpoints", "Saved"]


class Saved(NamedTuple):
    """What was restored: a state, its step, the data position saved with it, remarks."""

    state: PyTree
    step: int
    data: Any
    remarks: tuple[str, ...]


class Checkpoints:
    """The checkpoints of one run; a context that waits for the last to be written.

    A folder that holds checkpoints is continued from the newest: `restore` comes before the
    first save, and a state from before that step is refused, so that no run writes among the
    checkpoints of another. To go back to an older step, delete the folders of later ones.

    The folder is locked for this run until the context ends. Where several processes train
    one state, all of them make the same calls on one folder that all can see. The first
    holds the lock and does what has to be done once; its results and errors reach them all.

    Args:
        folder: of the run; created if it does not exist.
        every: steps from one checkpoint to the next.
        keep: how many of the newest checkpoints are kept.
        keep_period: checkpoints whose step is a multiple of it are kept as well.
        best: a metric and "min" or "max": the checkpoint that is best by it is kept as well.
            `fit` also saves where an evaluation is better than those of all that are kept.
        config: what the run is, as JSON. A folder that holds another run is refused.

    Raises:
        InputError: the folder has no name, belongs to something else, is in use or cannot
            be written to, a number is not positive, or `best` is not as above.

    >>> import optax, tempfile
    >>> from explorer.models.small import LinearRegression
    >>> from explorer.training.step.state import create_state
    >>> model, x = LinearRegression(), jax.numpy.ones((1, 1))
    >>> state = create_state(model, optax.sgd(0.1), jax.random.key(0), x)
    >>> with tempfile.TemporaryDirectory() as folder, Checkpoints(folder) as checkpoints:
    ...     checkpoints.save(state, {"epoch": 3})
    ...     checkpoints.wait()
    ...     saved = checkpoints.restore(state)
    >>> saved.step, saved.data, saved.state.params == state.params
    (0, {'epoch': 3}, True)
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        every: int = 100,
        keep: int = 3,
        keep_period: int | None = None,
        best: Best | None = None,
        config: Mapping[str, Any] | None = None,
    ):
        check_path("folder", folder, "a folder of the run")  # not the current one
        check_kinds(("config", config, "a dict or None"))
        self._retention = retention_of(folder, every, keep, keep_period, best)
        self.folder, self.every, self.keep = Path(os.path.abspath(folder)), every, keep
        self.best = best
        self._held: RunFolder | None = None
        self._manager: Any = None
        self._measured: dict[int, dict[str, float]] = {}  # of the steps that are saved here
        self._saving: Manifest | None = None
        self._is_continued = False  # whether what the folder holds leads to what is saved
        try:
            self._remarks = on_first(partial(self._begin, config or {}), list[str])
            self._manager = orbax_store.open_manager(
                self.folder, self._retention, self._write_manifest
            )
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
            return
        try:
            if jax.process_count() == 1:  # others know of no error and would be waited for
                self.wait()
        finally:
            self._end(has_failed=True)

    def steps(self) -> list[int]:
        """Return the steps that have a checkpoint, in ascending order."""
        return step_folders.steps_in(self.folder)

    def best_step(self) -> int | None:
        """Return the step that is best by the metric of `best`; None if none has it."""
        return None if self._retention.best is None else self._manager.best_step()

    def improves(self, metrics: Mapping[str, Any]) -> bool:
        """Return whether metrics are better than those of all checkpoints, by that of `best`."""
        step = self.best_step()
        stored = None if step is None else self._measured.get(step)
        if step is not None and stored is None:  # of a run before this one
            stored = self._manager.metrics(step)
        return on_first(partial(self._retention.improves, metrics, stored), bool)

    def check_continues(self, step: int) -> int | None:
        """Refuse to save at `step` among the checkpoints of another run; return the newest.

        They are this run's where `restore` was called or this object has saved them, and
        `step` is not before the newest.

        Raises:
            InputError: they are not; the error names the newest and the cure.
        """
        newest = max(on_first(self.steps, list[int]), default=None)
        if newest is not None and not (self._is_continued and step >= newest):
            other = f"the state is at {step:,}" if step < newest else "none was restored"
            raise InputError(
                self.folder,
                found=f"holds steps up to {newest:,}, {other}",
                expected="a state that continues from the newest",
                cure="restore it with checkpoints.restore(state), or train into another folder",
            )
        self._is_continued = True
        return newest

    def save(
        self, state: PyTree, data: Any = None, metrics: Mapping[str, Any] | None = None
    ) -> None:
        """Start writing a state; its buffers may be donated to a step at once.

        Args:
            state: a pytree with `step`; nothing is done if that is the newest checkpoint's.
            data: a position, as JSON; of several processes, that of the first.
            metrics: numbers by name, of which that of `best` is stored with the state.

        Raises:
            InputError: as `check_continues`; or the disk is full or the folder cannot be
                written to; it may be the save before this one that failed.
        """
        self.wait()
        if not hasattr(state, "step") or isinstance(state, type):
            check_type("the state", state, (), "what Trainer.init or a step returned")
        check_arrays("the state", state)
        check_not_donated("the state", state)
        step = int(state.step)
        if step == self.check_continues(step):
            return
        measured = None
        if self._retention.best is not None:  # processes may have measured their own parts
            find = partial(self._retention.measured, metrics)
            measured = on_first(find, dict[str, float] | None)
            self._measured[step] = measured or {}
        self._saving = Manifest(step=step, data=data, tensors=describe(state))
        self._attempt(partial(orbax_store.save, self._manager, step, state, measured))

    def has_failed(self) -> bool:
        """Return whether the last save is already known to have failed, without waiting.

        It is what this process knows, and raises nothing: `wait` does, on all processes.
        Of several, it is known when the others have ceased to wait for the one that failed.
        """
        return (
            self._saving is not None
            and not self._manager.is_saving_in_progress()
            and not (self.folder / str(self._saving.step)).exists()
        )

    def wait(self) -> None:
        """Wait until the last save is on disk and the checkpoints beyond `keep` are deleted.

        Raises:
            InputError: as `save`.
        """
        if self._saving is not None:
            self._attempt(self._manager.wait_until_finished)
            self._saving = None

    def close(self) -> None:
        """Wait for the last save, stop the threads behind it and release the folder.

        Raises:
            InputError: as `save`.
        """
        try:
            self.wait()
        finally:
            self._end()

    def restore(
        self, like: PyTree, *, step: int | None = None, batches: Any = None
    ) -> Saved | None:
        """Return the newest state whose checkpoint is intact; None if nothing was saved yet.

        A broken checkpoint is set aside as STEP.broken, and a remark says so. One that is
        chosen by `step` is not: it is an error.

        Args:
            like: a state of the shapes, dtypes and shardings to restore into: arrays or
                `jax.ShapeDtypeStruct`s. Its watch may be another one than the run had.
            step: which checkpoint, of `steps()` or `best_step()`; None for the newest. Behind
                an older one nothing is saved here before the later ones are deleted.
            batches: an iterator that is put to the position that was saved; see `fit`.

        Raises:
            InputError: the checkpoint is of another model (what differs is named), `step` has
                none, or `batches` cannot be put anywhere.
            FormatError: there are checkpoints, and all of them are broken.
        """
        check_arrays("like", like)
        for leaf in jax.tree.leaves(like):
            if not hasattr(leaf, "shape"):
                check_type("like", leaf, (), "a state, of arrays or their shapes")
        self.wait()  # what is being written is the newest
        remarks, there = list(self._remarks), on_first(self.steps, list[int])
        for each in step_folders.to_restore(self.folder, there, step):
            try:
                folder = self.folder / str(each)
                manifest = on_first(partial(read_manifest, folder, each, like), Manifest)
                state, new = restored(self._manager, manifest, like)
            except FormatError as error:  # on all processes, or on none
                if step is not None:
                    raise
                renamed = partial(step_folders.set_aside, self.folder, each, str(error))
                remarks.append(on_first(renamed, str))
                self._manager.reload()
                continue
            self._is_continued = True
            if batches is not None:
                go_to(batches, manifest.data)
            return Saved(state, each, manifest.data, (*remarks, *new))
        if remarks:
            cure = "train into another folder"
            found = f"none of its checkpoints is intact ({remarks[0]})"
            raise FormatError(self.folder, found=found, cure=cure)
        return None

    def _begin(self, config: Mapping[str, Any]) -> list[str]:
        self._held = lock_run_folder(self.folder, config)
        step_folders.delete_unfinished(self.folder)
        return step_folders.set_aside_unlisted(self.folder)

    def _end(self, has_failed: bool = False) -> None:
        try:
            if self._manager is not None:
                try:
                    self._report_failure(self._manager.wait_until_finished)
                finally:
                    self._manager.close()
        finally:
            if self._held is not None:
                self._held.release(has_failed=has_failed)

    def _attempt(self, act: Callable[[], Any]) -> None:
        """Do a part of a save on all processes; where it fails on one, undo the save."""
        try:
            together(partial(self._report_failure, act))
        except InputError:
            if self._saving is not None and jax.process_index() == 0:
                step_folders.delete_half_written(self.folder, self._saving.step)
            self._manager.reload()  # it counts on the save, and not on those it replaces
            self._saving = None
            raise

    def _report_failure(self, act: Callable[[], Any]) -> None:
        step = "" if self._saving is None else self._saving.step
        with step_folders.one_line(f"hold the checkpoint of step {step}", self.folder):
            act()

    def _write_manifest(self) -> None:
        """Write the manifest into the folder that Orbax has filled and not yet renamed."""
        assert self._saving is not None, "something is being saved"
        for folder in step_folders.folders_of(self.folder, self._saving.step):
            write_manifest(folder, self._saving)
