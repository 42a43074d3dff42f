"""The audit catches what the outcome filled in, keeps what came with the record, and can be overruled."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from crm.errors import InputError
from crm.history import History, empty_frame
from crm.schema import TABLE_OF, TABLES
from training.audit import Audit, Finding, audit

AS_OF = pd.Timestamp("2024-01-01", tz="UTC")
DAY = pd.Timedelta(days=1)

Texts = NDArray[np.object_]


def table(name: str, n: int, **columns: object) -> pd.DataFrame:
    """Give a valid table of n rows with these columns and everything else missing."""
    frame = empty_frame(TABLES[name]).reindex(range(n))
    for column, values in columns.items():
        series = pd.Series(values)
        if column in frame.columns:
            frame[column] = series.astype(frame[column].dtype)
        else:
            frame[column] = series if series.dtype.kind == "f" else series.astype("str")
    return frame


def chosen(where: NDArray[np.bool_], yes: object, no: object = None) -> Texts:
    """Give one of two texts (or arrays of texts) a record."""
    return np.where(where, np.asarray(yes, object), np.asarray(no, object))


class Untimed:
    """Leads that all ended, in the order of a sequence, with no moment at all."""

    def __init__(self, n: int = 1500, seed: int = 0) -> None:
        self.n = n
        self.rng = np.random.default_rng(seed)
        self.won = self.rng.random(n) < 0.4

    def draw(self, *levels: str) -> Texts:
        """Draw a level a record, whatever its outcome."""
        return self.rng.choice(np.array(levels, object), self.n)

    def chance(self, if_won: float, if_lost: float | None = None) -> NDArray[np.bool_]:
        """Draw yes or no by outcome."""
        return self.rng.random(self.n) < np.where(self.won, if_won, if_won if if_lost is None else if_lost)

    def history(self, **fields: object) -> History:
        """Give the leads with these attributes."""
        leads = table(
            "leads",
            self.n,
            lead_id=[f"L{i:05}" for i in range(self.n)],
            recorded_at=[AS_OF - DAY] * self.n,
            outcome=np.where(self.won, "won", "lost"),
            sequence=np.arange(self.n, dtype="float64"),
            **fields,
        )
        return History.of({"leads": leads})

    def audit(self, **fields: object) -> Audit:
        """Audit the leads with these attributes."""
        return audit(self.history(**fields), "lead", AS_OF)


class Timed(Untimed):
    """Deals that come in over two years and close within some months, so that the youngest are open."""

    def __init__(self, n: int = 1500, seed: int = 0, mean_days: object = 90.0) -> None:
        super().__init__(n, seed)
        self.created = AS_OF - 730 * DAY + pd.to_timedelta(np.sort(self.rng.random(n)) * 730, unit="D")
        lag = self.rng.exponential(1.0, n) * np.broadcast_to(np.asarray(mean_days, "float64"), n)
        self.ended = self.created + pd.to_timedelta(lag, unit="D")
        self.closed = np.asarray(self.ended < AS_OF)

    def history(self, **fields: object) -> History:
        """Give the deals with these columns."""
        ended = pd.Series(self.ended).where(self.closed)
        deals = table(
            "deals",
            self.n,
            deal_id=[f"D{i:05}" for i in range(self.n)],
            created_at=self.created,
            recorded_at=self.created,
            outcome=chosen(self.closed, chosen(self.won, "won", "lost")),
            closed_at=ended,
            closed_recorded_at=ended,
            **fields,
        )
        return History.of({"deals": deals})

    def audit(self, **fields: object) -> Audit:
        """Audit the deals with these columns."""
        return audit(self.history(**fields), "deal", AS_OF)


def of(found: Audit, field: str) -> Finding:
    """Give the finding about one field."""
    return next(finding for finding in found.findings if finding.field == field)


def test_a_field_that_only_lost_records_have_is_left_out() -> None:
    """A reason that is asked for when a lead is lost gives the outcome away by being there."""
    leads = Untimed()
    found = leads.audit(lost_reason=chosen(leads.chance(0.0, 0.3), leads.draw("price", "time", "other")))
    assert found.excluded == ["lost_reason"]
    assert of(found, "lost_reason").rule == "filled by the outcome"
    assert of(found, "lost_reason").figures["filled_won"] == 0.0


def test_a_field_whose_values_say_how_it_ended_is_left_out() -> None:
    """Statuses that are nearly pure for both outcomes are the outcome by another name."""
    leads = Untimed()
    said = chosen(leads.won, leads.draw("will pay", "call back"), leads.draw("not interested", "call back"))
    finding = of(leads.audit(remark=said), "remark")
    assert (finding.verdict, finding.rule) == ("excluded", "states the outcome")
    assert "'will pay' is won in 100%" in finding.reason


def test_a_number_that_takes_away_most_of_the_uncertainty_is_left_out() -> None:
    """A value that is zero for lost records knows more than anything known beforehand."""
    leads = Untimed()
    price = np.where(leads.chance(0.9, 0.05), leads.rng.lognormal(8, 1, leads.n), 0.0)
    assert leads.audit(price=price).excluded == ["price"]


def test_strong_but_honest_fields_are_kept() -> None:
    """A form that lost leads left empty, a level that nearly always buys, and a telling number stay."""
    leads = Untimed(4000)
    job = chosen(leads.chance(0.17, 0.01), "employed", leads.draw("unemployed", "unemployed", "student"))
    fields = {
        "job": chosen(leads.chance(0.9, 0.6), job),
        "goal": chosen(leads.chance(0.9, 0.6), "career"),
        "origin": chosen(leads.chance(0.17, 0.01), "referral", leads.draw("search", "ads", "chat")),
        "minutes": leads.rng.exponential(np.where(leads.won, 12.0, 5.0)),
    }
    found = leads.audit(**fields)
    assert found.excluded == []
    assert of(found, "job").figures["log_loss_gain"] > 0.1
    assert of(found, "minutes").figures["auc"] > 0.65


def test_a_field_filled_only_where_a_caught_one_is_goes_with_it() -> None:
    """A mild judgement written together with a telling one is left out; a form around both is kept."""
    leads = Untimed(3000)
    form = leads.chance(0.95, 0.8)
    worked = form & leads.chance(0.85, 0.5)
    judged = worked & leads.chance(0.6, 0.3)
    found = leads.audit(
        remark=chosen(worked, chosen(leads.chance(0.95, 0.05), "will pay", "no answer")),
        profile=chosen(judged, chosen(leads.chance(0.7, 0.4), "promising", "so so")),
        job=chosen(form, leads.draw("employed", "student")),
    )
    assert found.excluded == ["profile", "remark"]
    assert of(found, "profile").rule == "filled with a caught field"


def test_twins_of_which_one_was_rewritten_are_left_out() -> None:
    """Of two fields with one vocabulary one was overwritten, more often where the lead was lost."""
    leads = Untimed(3000)
    last = leads.draw("mail", "call", "visit", "chat", "message")
    found = leads.audit(last_event=last, last_notable=chosen(leads.chance(0.1, 0.5), "changed", last))
    assert found.excluded == ["last_event", "last_notable"]
    assert of(found, "last_event").rule == "rewritten"


def test_a_careless_copy_is_no_twin() -> None:
    """A copy with random mistakes knows less than the original; its mistakes say nothing of the outcome."""
    leads = Untimed(3000)
    country = chosen(leads.chance(0.5, 0.15), "FR", leads.draw("DE", "ES", "IT", "BE"))
    copied = chosen(leads.chance(0.2), leads.draw("FR", "DE", "ES", "IT", "BE"), country)
    assert leads.audit(country=country, copied=copied).excluded == []


def test_fields_that_differ_without_telling_the_outcome_are_no_twins() -> None:
    """Billing and delivery countries share a vocabulary and mostly agree; both stay."""
    leads = Untimed(3000)
    billing = chosen(leads.chance(0.4, 0.15), "FR", leads.draw("DE", "ES", "IT", "BE"))
    delivery = chosen(leads.chance(0.2), leads.draw("DE", "ES", "IT", "BE"), billing)
    assert leads.audit(billing=billing, delivery=delivery).excluded == []


def test_a_block_written_in_batches_is_left_out() -> None:
    """Scores that all records have, then none, then all again were computed later by one process."""
    leads = Untimed(2000)
    place = np.arange(leads.n)
    batches = (place < 600) | (place > 1300)
    fields = {name: chosen(batches, leads.draw("high", "low")) for name in ("score_a", "score_b")}
    found = leads.audit(**fields)
    assert found.excluded == ["score_a", "score_b"]
    assert of(found, "score_a").rule == "written in batches"


def test_questions_that_were_added_to_the_form_are_kept() -> None:
    """Two fields that begin together and stay are a newer form."""
    leads = Untimed(2000)
    newer = np.arange(leads.n) > 900
    fields = {name: chosen(newer, leads.draw("yes", "no", "maybe")) for name in ("budget", "timing")}
    assert leads.audit(**fields).excluded == []


@pytest.mark.parametrize("seed", range(5))
def test_chance_is_no_leak(seed: int) -> None:
    """Twenty random attributes with 30% missing are kept, with and without moments."""
    for records in (Untimed(800, seed), Timed(800, seed)):
        fields: dict[str, object] = {
            f"text_{i}": chosen(records.chance(0.7), records.draw(*"abcdefghij"[: i + 2])) for i in range(8)
        }
        fields |= {
            f"rare_{i}": chosen(records.chance(0.7), records.draw(*[f"v{v}" for v in range(300)]))
            for i in range(2)
        }
        for i in range(10):
            fields[f"number_{i}"] = np.where(records.chance(0.7), records.rng.normal(size=records.n), np.nan)
        assert records.audit(**fields).excluded == []


@pytest.mark.parametrize("seed", range(20))
def test_thirty_records_exclude_nothing_by_chance(seed: int) -> None:
    """In a small history noise looks like skill; the bounds know."""
    for records in (Untimed(30, seed), Timed(30, seed), Untimed(60, seed), Timed(60, seed)):
        fields = {f"f{i}": chosen(records.chance(0.7), records.draw("a", "b", "c")) for i in range(10)}
        assert records.audit(**fields).excluded == []


def test_too_few_records_are_said_to_be_too_few() -> None:
    """A verdict that rests on nothing says so."""
    assert "too few records to tell" in of(Untimed(12).audit(city=["a", "b"] * 6), "city").reason


def test_a_field_filled_when_records_close_is_left_out() -> None:
    """A note that closed deals have, won or lost alike, and open ones of equal age have not."""
    deals = Timed()
    found = deals.audit(note=chosen(deals.closed & deals.chance(0.3), deals.draw("a", "b")))
    assert of(found, "note").rule == "filled by closing"
    assert of(found, "note").figures["filled_open"] == 0.0


def test_a_field_cleared_when_records_close_is_left_out() -> None:
    """The next step stands on open deals and is emptied on closing."""
    deals = Timed()
    found = deals.audit(next_step=chosen(~deals.closed, deals.draw("call", "visit")))
    assert of(found, "next_step").rule == "changed by closing"


def test_a_status_that_moves_on_closing_is_left_out() -> None:
    """A status of its own for closed deals is caught, even though it does not say which way."""
    deals = Timed()
    status = chosen(deals.closed, "archived", deals.draw("new", "running"))
    assert deals.audit(status=status).excluded == ["status"]


def test_a_level_that_merely_closes_soon_is_kept() -> None:
    """Small deals close in a week and so are hardly ever open; their size was known from the beginning."""
    probe = Timed(3000)
    small = np.random.default_rng(9).random(probe.n) < 0.4
    deals = Timed(3000, mean_days=np.where(small, 7.0, 300.0))
    found = deals.audit(size=chosen(small, "small", "large"))
    assert of(found, "size").figures["filled_open"] == 1.0
    assert found.excluded == []


def test_an_expected_closing_that_is_set_to_the_real_one_is_left_out() -> None:
    """Many CRMs overwrite the expected date with the day of closing; a forecast that often misses is kept."""
    deals = Timed()
    forecast = pd.Series(deals.created + 80 * DAY)
    overwritten = forecast.where(~deals.closed, pd.Series(deals.ended))
    assert deals.audit(expected_close_at=forecast).excluded == []
    finding = of(deals.audit(expected_close_at=overwritten), "expected_close_at")
    assert finding.rule == "moved to the closing"
    assert finding.figures["closed_on_expected_day"] == 1.0


def test_a_field_that_repeats_the_last_activity_is_left_out() -> None:
    """What is rewritten with each activity is as old as the last one."""
    leads = Untimed(400)
    kind = leads.draw("Call", "Mail", "Visit")
    history = leads.history(
        last_touch=np.char.lower(kind.astype(str)), first_touch=leads.draw("Call", "Mail")
    )
    at = [AS_OF - 10 * DAY] * leads.n + [AS_OF - 2 * DAY] * leads.n
    activities = table(
        "activities",
        2 * leads.n,
        activity_id=[f"A{i:05}" for i in range(2 * leads.n)],
        lead_id=[*history.leads["lead_id"], *history.leads["lead_id"]],
        kind=[*["Form"] * leads.n, *kind],
        occurred_at=at,
        recorded_at=at,
    )
    found = audit(History.of({"leads": history.leads, "activities": activities}), "lead", AS_OF)
    assert found.excluded == ["last_touch"]
    assert of(found, "last_touch").rule == "repeats the last activity"


def with_change(history: History, field: str, at: pd.Timestamp) -> History:
    """Give the history with one change of a field of the first deal."""
    change = table(
        "changes",
        1,
        change_id=["C1"],
        entity=["deal"],
        record_id=["D00000"],
        field=[field],
        new_value=["archived"],
        changed_at=[at],
        recorded_at=[at],
    )
    return History.of({"deals": history.deals, "changes": change})


def test_a_field_with_a_history_is_judged_only_where_it_began_too_late() -> None:
    """Tracking vouches for what closed after it began, and for nothing that closed before."""
    deals = Timed()
    history = deals.history(status=chosen(deals.closed, "archived", deals.draw("new", "running")))
    early = audit(with_change(history, "status", AS_OF - 700 * DAY), "deal", AS_OF)
    late = audit(with_change(history, "status", AS_OF - 5 * DAY), "deal", AS_OF)
    assert [finding.field for finding in early.findings] == []
    assert late.excluded == ["status"]


def test_fields_of_the_account_are_judged_under_their_own_name() -> None:
    """An account that becomes a customer when its deal is won tells the outcome of the deal."""
    deals = Timed(800)
    ids = [f"K{i}" for i in range(deals.n)]
    history = deals.history(account_id=ids)
    accounts = table(
        "accounts",
        deals.n,
        account_id=ids,
        recorded_at=deals.created,
        type=chosen(deals.closed & deals.won, "customer", "prospect"),
        country=deals.draw("FR", "DE"),
    )
    found = audit(History.of({"deals": history.deals, "accounts": accounts}), "deal", AS_OF)
    assert found.excluded == ["account.type"]
    assert {finding.field for finding in found.findings} == {"account_id", "account.type", "account.country"}


def test_the_user_has_the_last_word() -> None:
    """A kept field stays in whatever was found, a dropped one goes; the finding says both."""
    leads = Untimed()
    history = leads.history(remark=chosen(leads.won, "paid", "refused"), city=leads.draw("a", "b"))
    found = audit(history, "lead", AS_OF, keep=["remark"], drop=["city"])
    assert found.excluded == ["city"]
    assert (of(found, "remark").verdict, of(found, "remark").rule) == (
        "kept by the user",
        "states the outcome",
    )
    assert of(found, "city").verdict == "excluded by the user"


def test_a_field_with_a_history_can_be_dropped() -> None:
    """The user may leave out what the audit does not judge."""
    history = with_change(Timed(300).history(status=["new"] * 300), "status", AS_OF - 700 * DAY)
    assert audit(history, "deal", AS_OF, drop=["status"]).excluded == ["status"]


def test_a_name_that_no_table_has_is_refused() -> None:
    """A misspelt field would otherwise be overruled in silence; a field of the other table is no mistake."""
    history = Untimed(30).history(city=["a"] * 30)
    with pytest.raises(InputError, match="keep names 'citty'"):
        audit(history, "lead", AS_OF, keep=["citty"])
    with pytest.raises(InputError, match="both keep and drop"):
        audit(history, "lead", AS_OF, keep=["city"], drop=["city"])
    assert audit(history, "lead", AS_OF, drop=["amount"]).excluded == []


def test_the_order_of_rows_changes_nothing() -> None:
    """The audit of a shuffled export is the same, figure by figure."""
    deals = Timed(600)
    history = deals.history(note=chosen(deals.closed, "x"), city=deals.draw("a", "b", "c"))
    shuffled = history.deals.sample(frac=1.0, random_state=3).reset_index(drop=True)
    again = audit(History.of({"deals": shuffled}), "deal", AS_OF)
    assert again.to_json_dict() == audit(history, "deal", AS_OF).to_json_dict()


def test_it_says_what_would_have_been_claimed() -> None:
    """With the leak a model claims near certainty on later records, without it what it can do."""
    leads = Untimed(2000)
    found = leads.audit(
        remark=chosen(leads.chance(0.97, 0.03), "paid", "refused"),
        city=chosen(leads.chance(0.6, 0.4), "Lyon", "Nice"),
    )
    assert found.excluded == ["remark"]
    assert found.claimed is not None
    assert found.claimed.auc_all > 0.95
    assert 0.55 < found.claimed.auc_kept < 0.65
    assert (found.claimed.n_train, found.claimed.n_test) == (1400, 600)


def test_nothing_is_claimed_of_one_outcome() -> None:
    """Where every record is won there is nothing to rank."""
    leads = Untimed(400)
    leads.won[:] = True
    found = leads.audit(city=leads.draw("a", "b"))
    assert found.claimed is None
    assert (found.n_won, found.n_lost, found.n_open) == (400, 0, 0)


def test_an_empty_history_has_no_finding() -> None:
    """Without a record there is nothing to say."""
    for entity in ("lead", "deal"):
        assert audit(History(), entity, AS_OF).findings == ()
        assert TABLE_OF[entity].name in History().frames()


def test_the_audit_is_plain_json() -> None:
    """The report and the bundle keep it as it is."""
    leads = Untimed(400)
    found = leads.audit(remark=chosen(leads.won, "paid", "refused"))
    read = json.loads(json.dumps(found.to_json_dict(), allow_nan=False))
    assert read["excluded"] == ["remark"]
    assert read["findings"][0]["rule"] == "states the outcome"


def test_the_moment_needs_a_time_zone() -> None:
    """A naive moment is refused with the remedy."""
    with pytest.raises(ValueError, match="names no time zone"):
        audit(History(), "lead", pd.Timestamp("2024-01-01"))
