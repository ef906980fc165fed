"""What happened at each synaptic event: a recorder for brian2 that works on every target."""

from __future__ import annotations

import itertools
from array import array
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from synapses._brian_units import Quantity, brian, in_this_process, no_unit
from theory.checks import one_of

__all__ = ["EventRecorder"]

_NUMBERS = itertools.count()


class EventRecorder:
    r"""Record of synaptic events: when, which synapse, and what it did.

    The builders of :mod:`synapses.brian` make one with ``record=True`` and hang it on the
    synapses: ``S.recorder["r"]``. Events are sorted by time, then by synapse, whatever order
    the target served them in.

    On the numpy target a record costs one call a time step, on cython one call of Python an
    event, in a standalone project one write to a binary file in its results folder, which is
    read when the project has run. Records know nothing of brian2's ``store`` and ``restore``:
    what was recorded stays. Standalone projects with OpenMP have not been tried.

    **Shapes and units.** One entry an event; quantities where a field has a unit.

    Parameters
    ----------
    fields : dict
        Dimensions of each field by name, time and number of the synapse aside.
    whole : tuple of str
        Fields that hold whole numbers.
    """

    def __init__(self, fields: dict[str, Any], whole: tuple[str, ...] = ()) -> None:
        self._dimensions = {"t": brian().second.dim, **fields, "synapse": no_unit()}
        self._whole = {*whole, "synapse"}
        self._name = f"synaptic_events_{next(_NUMBERS)}"
        self._rows = array("d")
        self._device = brian().get_device()

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of what is recorded."""
        return tuple(self._dimensions)

    def __len__(self) -> int:
        return len(self._table())

    def __getitem__(self, field: str) -> Quantity | ndarray:
        one_of("field", field, self.fields)
        column = self._table()[:, self.fields.index(field)]
        if field in self._whole:
            return column.astype(np.int64)
        if self._dimensions[field] is no_unit():
            return column
        return brian().Quantity(column, dim=self._dimensions[field])

    def _table(self) -> ndarray:
        """Return one row an event."""
        width = len(self.fields)
        numbers = np.array(self._rows) if in_this_process(self._device) else self._read()
        table = numbers.reshape(-1, width)
        return np.asarray(table[np.lexsort((table[:, -1], table[:, 0]))])

    def _read(self) -> ndarray:
        """Return what a standalone project wrote."""
        if not self._device.has_been_run:
            raise RuntimeError("the standalone project has not run yet: nothing is recorded")
        path = Path(self._device.results_dir) / f"{self._name}.bin"
        return np.fromfile(path) if path.exists() else np.empty(0)

    def function(self) -> Any:
        """Return the function that the code of the synapses calls at each event."""
        b2 = brian()
        arguments = list(self._dimensions.items())[:-1]
        function = b2.Function(
            lambda *_: 0.0,
            arg_units=[b2.get_unit(dimensions) for _, dimensions in arguments],
            arg_types=["any"] * len(arguments),
            return_unit=1,
            stateless=True,  # rows are sorted when read
            auto_vectorise=True,
        )
        add = function.implementations.add_implementation
        add("numpy", self._keep)
        add("cython", self._keep)
        inputs = ", ".join(f"const double a{k}" for k in range(len(arguments)))
        values = ", ".join(f"a{k}" for k in range(len(arguments)))
        code = f"""
        #include <fstream>
        static double {self._name}({inputs}, const int index)
        {{
            static std::ofstream file(brian::results_dir + "{self._name}.bin", std::ios::binary);
            const double row[] = {{{values}, (double) index}};
            file.write((const char*) row, sizeof(row));
            return 0.0;
        }}
        """
        add("cpp", {"support_code": code}, name=self._name)
        return function

    def _keep(self, *values: Any) -> float:
        """Keep one event, or the events of one time step."""
        if np.ndim(values[-1]):
            rows = np.stack(np.broadcast_arrays(*values), axis=1).astype(float)
            self._rows.frombytes(rows.tobytes())
        else:
            self._rows.extend(float(value) for value in values)
        return 0.0
