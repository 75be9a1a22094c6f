"""Run ADVI and then draw from the posterior; the run may be saved in a checkpoint.

The ADVI guide starts and scales the chains (``inference/nuts/sampler.py``). The individual and the
pooled model need no chains, because their draws are exact (``inference/inversion.py``).
"""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.inference.advi.guide import ADVIResult, fit_guide
from radon_numpyro.inference.compute.compilation import forget_line
from radon_numpyro.inference.inversion import ExactResult, draw_exact
from radon_numpyro.inference.nuts.compile_ahead import compile_nuts
from radon_numpyro.inference.nuts.result import NUTSResult
from radon_numpyro.inference.nuts.sampler import draw_nuts
from radon_numpyro.inference.runs import checkpoint as checkpoints
from radon_numpyro.inference.runs.checkpoint import Checkpoint
from radon_numpyro.inference.runs.fit_identity import check_same, data_arrays, describe
from radon_numpyro.inference.runs.run_control import Run
from radon_numpyro.inference.settings import Settings
from radon_numpyro.inference.two_routes import TwoRoutes, compare_routes
from radon_numpyro.model.priors import Priors
from radon_numpyro.statistics.group_statistics import GroupStatistics

# With fewer draws their Monte Carlo errors are not known.
FEW_DRAWS = 200


@dataclass(frozen=True)
class Sampled:
    """The result of a run.

    Attributes
    ----------
    advi
        The fitted guide.
    drawn
        The draws.
    seconds
        Elapsed seconds of both steps, by ``"advi"`` and ``"draws"``.
    """

    advi: ADVIResult
    drawn: NUTSResult | ExactResult
    seconds: dict[str, float]


def sample(
    statistics: GroupStatistics,
    priors: Priors,
    settings: Settings,
    run: Run,
    *,
    progress_bar: bool,
) -> Sampled:
    """Fit the guide and draw from the posterior.

    Parameters
    ----------
    statistics, priors, settings
        Data, priors and settings of the fit.
    run
        Control of the run, which saves the steps and may end them.
    progress_bar
        As in :func:`radon_numpyro.fit`.

    Returns
    -------
    Sampled

    Raises
    ------
    KeyboardInterrupt, TimeoutError
        If the run ends before the first draw. If there is a checkpoint, the message says how to
        continue.
    """
    drawn: NUTSResult | ExactResult
    started = time.perf_counter()
    try:
        if not settings.is_exact:
            compile_nuts(statistics, priors, settings)
        advi = fit_guide(
            statistics,
            settings.model,
            priors,
            run,
            num_steps=settings.num_advi_steps,
            seed=settings.seed,
            dtype=settings.dtype,
            progress_bar=progress_bar,
        )
        advi_done = time.perf_counter()
        if settings.is_exact:
            # Exact draws are not saved in the checkpoint, because drawing them again is quick.
            with run.at_once():
                drawn = draw_exact(
                    statistics,
                    settings.model,
                    priors=priors,
                    draws=settings.draws,
                    chains=settings.chains,
                    seed=settings.seed,
                )
        else:
            drawn = draw_nuts(statistics, advi, priors, settings, run, progress_bar=progress_bar)
    except (KeyboardInterrupt, TimeoutError) as end:
        forget_line()
        if run.checkpoint is None:
            raise
        what = str(end) or "interrupted before the first draw"
        raise type(end)(f"{what}; resume({str(run.checkpoint.path)!r}) continues it") from None
    seconds = {"advi": advi_done - started, "draws": time.perf_counter() - advi_done}
    return Sampled(advi, drawn, seconds)


def two_routes(
    statistics: GroupStatistics,
    priors: Priors,
    drawn: NUTSResult,
    *,
    seconds: float,
) -> TwoRoutes:
    """Compare draws by NUTS with integration, unless there are too few draws.

    Parameters
    ----------
    statistics, priors
        Data and priors of the fit.
    drawn
        The draws.
    seconds
        Elapsed seconds of the run.
    """
    if not drawn.complete:
        return TwoRoutes(skipped="the run is incomplete")
    chains, draws, *_ = next(iter(drawn.draws.values())).shape
    if min(chains, draws) < 2 or chains * draws < FEW_DRAWS:
        return TwoRoutes(skipped=f"fewer than {FEW_DRAWS} draws, or one chain")
    return compare_routes(statistics, priors, drawn.draws, seconds=seconds, seed=drawn.seed)


def kept(
    checkpoint: str | os.PathLike[str] | None,
    data: GroupedData | GroupStatistics,
    priors: Priors,
    settings: Settings,
    remarks: dict[str, str],
) -> AbstractContextManager[Checkpoint | None]:
    """Open the checkpoint of a fit, create it, or return an empty context if there is none.

    Parameters
    ----------
    checkpoint
        Folder of the checkpoint, or None.
    data, priors, settings
        Data, priors and settings of the fit.
    remarks
        As in :func:`radon_numpyro.inference.runs.fit_identity.describe`.

    Raises
    ------
    ValueError
        If the checkpoint belongs to another fit, is damaged, or is open in another process.
    OSError
        If the checkpoint cannot be written.
    """
    if checkpoint is None:
        return nullcontext()
    description = describe(data, priors, settings, remarks)
    if not checkpoints.exists(checkpoint):
        return Checkpoint.create(checkpoint, description, data_arrays(data))
    found = Checkpoint.open(checkpoint)
    try:
        check_same(found.path, found.header, description)
    except ValueError:
        found.close()
        raise
    found.header = description
    return found
