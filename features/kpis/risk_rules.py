"""When a deal is called at risk."""

from __future__ import annotations

from dataclasses import dataclass

from crm.errors import InputError


@dataclass(frozen=True)
class RiskRules:
    """When a deal is called at risk.

    Parameters
    ----------
    quantile : float
        The share of won deals that a deal must go beyond: 1 for all of them.
    fewest_won : int
        Won deals of a stage below which nothing is claimed about it.
    usual : float
        The share of won deals that must have had a second contact, or an answer, for its lack to be a risk.

    Raises
    ------
    InputError
        Where one is no share, or no count.

    Examples
    --------
    >>> RiskRules(quantile=95)
    Traceback (most recent call last):
    crm.errors.InputError: risk rules: quantile = 95: give a share above 0 and up to 1
    """

    quantile: float = 1.0
    fewest_won: int = 20
    usual: float = 0.9

    def __post_init__(self) -> None:
        """Refuse what is no share or no count."""
        for name, value in (("quantile", self.quantile), ("usual", self.usual)):
            if not 0 < value <= 1:
                raise InputError(f"risk rules: {name} = {value}: give a share above 0 and up to 1")
        if self.fewest_won < 1:
            raise InputError(f"risk rules: fewest_won = {self.fewest_won}: give a whole number above 0")
