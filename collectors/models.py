"""Models as their libraries have them: sessions of ONNX Runtime, modules of PyTorch, estimators of scikit-learn.

None of the libraries is imported here: what is given brings its own. Each function says what was loaded really, in
which precision and on which device, as far as the library tells it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from braid_hpc.collectors.inference import Inference
from braid_hpc.run.guard import passes, tell
from braid_hpc.vocabulary.errors import InvalidInputError

if TYPE_CHECKING:
    from braid_hpc.run.recorder import Run

__all__ = ["ModuleInference", "estimator", "estimator_state", "onnx_session", "torch_module"]


def onnx_session(run: Run, session: Any, *, model: Any, **about: Any) -> Inference:
    """Record what a session of ONNX Runtime infers.

    Parameters
    ----------
    run : Run
        Where.
    session : onnxruntime.InferenceSession
        It; the file or the bytes that it was made from are its weights.
    model : Record or str
        The version that should be loaded: of a model with ``state=`` that file, or ``path=``.
    **about
        As for :func:`braid_hpc.collectors.inference.record_inference`.

    Returns
    -------
    Inference
        Call it as ``session.run``, with the names of outputs (or None) and the feed.
    """
    found = _ask(lambda: _of_session(session)) or {}
    given = {**found, **about}
    if given.get("outputs") is None:
        given.pop("outputs", None)
    return _SessionInference(run, session.run, model=model, **given)


def _of_session(session: Any) -> dict[str, Any]:
    providers = session.get_providers()
    types = sorted({each.type.removeprefix("tensor(").removesuffix(")") for each in session.get_inputs()})
    weights = getattr(session, "_model_path", None) or getattr(session, "_model_bytes", None)
    return {"weights": weights or None, "device": providers[0] if providers else "", "precision": ", ".join(types)}


class _SessionInference(Inference):
    """What takes the feed, which is the second argument, as the batch."""

    def _batch_of(self, args: Any, kwargs: Any) -> Any:
        feed = args[1] if len(args) > 1 else kwargs.get("input_feed")
        return next(iter(feed.values())) if isinstance(feed, dict) and len(feed) == 1 else feed


class ModuleInference(Inference):
    """What records the calls of a module by its forward hooks; made by :func:`torch_module`.

    The module is called as before. :meth:`close` takes the hooks away.
    """

    _hooks: tuple[Any, ...] = ()
    _open: list[tuple[str, int]]

    def attach(self, module: Any) -> None:
        """Register the hooks.

        Parameters
        ----------
        module : torch.nn.Module
            Whose calls are recorded.
        """
        self._open = []
        self._hooks = (
            module.register_forward_pre_hook(self._before, with_kwargs=True),
            module.register_forward_hook(self._after, with_kwargs=True, always_call=True),
        )

    def _before(self, module: Any, args: Any, kwargs: Any) -> None:
        self._open.append((self.seen(self._batch_of(args, kwargs)), time.perf_counter_ns()))

    def _after(self, module: Any, args: Any, kwargs: Any, result: Any) -> None:
        now = time.perf_counter_ns()
        digest, began = self._open.pop() if self._open else ("", now)
        if result is None:
            # Called although forward raised; what it raised goes on, and is not told here.
            error = RuntimeError("forward raised, or returned None")
            self.failed(error, now - began, digest=digest, batch=self._batch_of(args, kwargs))
        else:
            self.take(self._batch_of(args, kwargs), result, now - began, digest=digest)

    def _finish(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = ()


def torch_module(run: Run, module: Any, *, model: Any, **about: Any) -> ModuleInference:
    """Record what a module of PyTorch infers, whoever calls it, until the collector is closed.

    Parameters
    ----------
    run : Run
        Where.
    module : torch.nn.Module
        It; its ``state_dict()`` is its weights, as it is now.
    model : Record or str
        The version that should be loaded: of a model with ``state=`` that mapping.
    **about
        As for :func:`braid_hpc.collectors.inference.record_inference`.

    Returns
    -------
    ModuleInference
        Close it, or use it in a ``with`` block, to take the hooks away.
    """
    found = _ask(lambda: _of_module(module)) or {}
    inference = ModuleInference(run, module, model=model, **{**found, **about})
    inference.attach(module)
    return inference


def _of_module(module: Any) -> dict[str, Any]:
    first = next(iter(module.parameters()), None)
    where = {} if first is None else {"device": str(first.device), "precision": str(first.dtype).removeprefix("torch.")}
    return {"weights": dict(module.state_dict()), **where}


def estimator(run: Run, fitted: Any, *, model: Any, method: str = "predict", **about: Any) -> Inference:
    """Record what an estimator as scikit-learn has them infers.

    Parameters
    ----------
    run : Run
        Where.
    fitted : object
        It; its fitted attributes are its weights, see :func:`estimator_state`.
    model : Record or str
        The version that should be loaded: of a model with ``state=estimator_state(fitted)``.
    method : str
        ``predict``, ``predict_proba``, ``decision_function``, ``transform``.
    **about
        As for :func:`braid_hpc.collectors.inference.record_inference`.

    Returns
    -------
    Inference
        Call it as the method.

    Raises
    ------
    InvalidInputError
        If it has no such method: there is nothing that could be called.
    """
    predict = getattr(fitted, method, None)
    if not callable(predict):
        raise InvalidInputError(f"a {type(fitted).__name__} has no method {method!r}")
    found = _ask(lambda: {"weights": estimator_state(fitted) or None, "device": "cpu"}) or {}
    return Inference(run, predict, model=model, **{**found, **about})


def estimator_state(fitted: Any) -> dict[str, Any]:
    """Return the weights of an estimator: the arrays and numbers among its fitted attributes.

    Those are the attributes whose names end with an underscore. Lists of arrays become several entries, estimators
    within it (of a pipeline, of a forest) entries with dotted names. Trees and other objects in memory of their own
    are not seen: of a model that consists of such, give ``weights=`` the file that it was loaded from.

    Parameters
    ----------
    fitted : object
        An estimator.

    Returns
    -------
    dict of str to numpy.ndarray
        Sorted by name.
    """
    found: dict[str, Any] = {}
    _collect("", fitted, found, 0)
    return dict(sorted(found.items()))


def _collect(prefix: str, fitted: Any, found: dict[str, Any], depth: int) -> None:
    import numpy as np

    if depth > 8:
        return
    for name, value in sorted(getattr(fitted, "__dict__", {}).items()):
        fits = name.endswith("_") and not name.startswith("_")
        values = value if isinstance(value, (list, tuple)) and name != "classes_" else [value]
        for at, each in enumerate(values):
            key = f"{prefix}{name}" if len(values) == 1 else f"{prefix}{name}.{at}"
            each = each[-1] if isinstance(each, tuple) and each and name == "steps" else each
            if hasattr(each, "fit") and (fits or name == "steps"):
                _collect(f"{key}.", each, found, depth + 1)
            elif fits and isinstance(each, (np.ndarray, np.generic, float, int)):
                array = np.asarray(each)
                if not array.dtype.hasobject:
                    found[key] = array


def _ask(question: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    """Ask a library what it has loaded; what goes wrong there costs its answer, not the program."""
    try:
        return question()
    except Exception as error:
        if passes(error):
            raise
        tell(f"a model does not tell what it consists of ({type(error).__name__}: {error})")
        return None
