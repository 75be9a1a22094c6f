"""The methods that a posterior may be computed by, and which one a design gets.

====================  =========================================================================
``"marginal"``        the coefficients integrated out: NUTS in the scales of the hierarchical
                      model, exact draws of the others
``"noncentered"``     NUTS on all parameters, the coefficients in units of their spread
``"centered"``        NUTS on all parameters as written
``"integrate"``       the scales integrated numerically too: no chain
====================  =========================================================================

Nothing here needs JAX.
"""

from __future__ import annotations

from radon_numpyro.data.design import Design
from radon_numpyro.model.models import MODELS, Model

INTEGRATE, AUTO = "integrate", "auto"
# The first is the default.
METHODS = {
    name: ("marginal", *(("noncentered",) if model.population else ()), "centered", INTEGRATE)
    for name, model in MODELS.items()
}
# A step of the marginal method takes time like the number of groups times the cube of the columns
# that vary: on two cores a fit of 100 groups takes a minute with 20 slopes that vary. Columns
# that do not vary cost little.
MAX_MARGINAL_SLOPES = 20


def choose_method(model: str, method: str | None, design: Design) -> tuple[str, str]:
    """The method to sample by, and why, where it is not the model's default one.

    Parameters
    ----------
    model
        Name of the model.
    method
        As in ``METHODS``; None for the default; ``"auto"``, which begins with integration.
    design
        Which columns vary by group, and which of them correlate.

    Returns
    -------
    method, reason
        The reason is empty where the method was asked for or is the model's default.

    Raises
    ------
    ValueError
        If there is no such model, too many slopes vary for the method asked for, or it is another
        one and coefficients correlate.
    """
    num_slopes = len(design.slopes)
    population = Model.named(model).population
    default, *others = METHODS[model]
    if population and design.correlated:
        if num_slopes > MAX_MARGINAL_SLOPES:
            raise ValueError(
                f"Expected at most {MAX_MARGINAL_SLOPES} slopes that vary by group where "
                f"coefficients correlate; got {num_slopes}. Write || for independent coefficients"
            )
        if method not in (None, default, INTEGRATE, AUTO):
            raise ValueError(
                f"Expected method={default!r} or {INTEGRATE!r}, the only ones for correlated "
                f"coefficients; got method={method!r}"
            )
    if not population or num_slopes <= MAX_MARGINAL_SLOPES:
        if method == AUTO:
            return INTEGRATE, ""
        return default if method is None else method, ""
    if method in ("marginal", INTEGRATE):
        raise ValueError(
            f"Expected method={others[0]!r} for {num_slopes} slopes that vary by group, or at most "
            f"{MAX_MARGINAL_SLOPES}, as many as the coefficients can be integrated out for in "
            f"reasonable time; got method={method!r}"
        )
    if method not in (None, AUTO):
        return method, ""
    return others[0], (
        f"the marginal method takes at most {MAX_MARGINAL_SLOPES} slopes that vary by group, here "
        f"are {num_slopes}"
    )
