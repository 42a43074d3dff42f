"""Revenue forecasts: what is closed, what open deals and deals to come will bring, and how sure that is."""

from serving.forecast.forecast import Forecast, forecast
from serving.forecast.widening import PastErrors
from serving.forecast_model import ForecastModel, TypicalAmount

__all__ = ["Forecast", "ForecastModel", "PastErrors", "TypicalAmount", "forecast"]
