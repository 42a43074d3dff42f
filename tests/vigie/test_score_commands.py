"""vigie score: the files it writes, the moments it reads, and what stays where it fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from crm.store import Store
from features import open_at

AS_OF = pd.Timestamp("2024-11-15", tz="UTC")
LEADS = ["lead_id", "as_of", "propensity", "horizon_days", "reasons", "model_version", "reason_missing"]
DEALS = [
    "deal_id", "as_of", "win_probability", "close_p10", "close_p50", "close_p90", "expected_amount",
    "reasons", "model_version", "reason_missing",
]  # fmt: skip


def score(vigie: Any, company: Any, entity: str, out: Path, *asked: object) -> Any:
    """Score into a file; give what the command answers."""
    where = ("--history", company.history, "--bundle", company.bundle)
    return vigie.ask("score", entity, *where, "--out", out, *asked)


def refused(vigie: Any, company: Any, entity: str, out: Path, *asked: object, code: int = 1) -> str:
    """Give the message of scoring that must fail."""
    where = ("--history", company.history, "--bundle", company.bundle)
    return str(vigie.refusal("score", entity, *where, "--out", out, *asked, code=code))


@pytest.mark.parametrize(("entity", "columns"), [("lead", LEADS), ("deal", DEALS)])
def test_every_open_record_has_one_row(
    vigie: Any, company: Any, tmp_path: Path, entity: str, columns: list[str]
) -> None:
    """A plain date is 00:00 UTC; the rows are the records open then, the columns those documented."""
    out = tmp_path / "scores.parquet"
    said = score(vigie, company, f"{entity}s", out, "--as-of", "2024-11-15")
    frame = pd.read_parquet(out)
    assert list(frame.columns) == columns
    expected = open_at(Store.open(str(company.history)).read(), entity, AS_OF)
    assert frame[f"{entity}_id"].tolist() == expected.tolist()
    assert (frame["as_of"] == AS_OF).all()
    assert said["rows"] == said["scored"] == len(frame) > 10
    assert set(frame["model_version"]) == {company.trained["version"]}


def test_scores_hold_what_they_promise(vigie: Any, company: Any, tmp_path: Path) -> None:
    """Probabilities, closing moments in order, amounts, and reasons as JSON, strongest first."""
    score(vigie, company, "deals", tmp_path / "d.parquet", "--as-of", "2024-11-15")
    score(vigie, company, "leads", tmp_path / "l.parquet", "--as-of", "2024-11-15")
    deals, leads = pd.read_parquet(tmp_path / "d.parquet"), pd.read_parquet(tmp_path / "l.parquet")
    assert deals["win_probability"].between(0, 1).all()
    assert leads["propensity"].between(0, 1).all()
    assert (leads["horizon_days"] == 60).all()
    assert (deals["close_p10"] >= AS_OF).all()
    assert (deals["close_p10"] <= deals["close_p50"]).all()
    assert (deals["close_p50"] <= deals["close_p90"]).all()
    assert deals["reason_missing"].isna().all()
    for text in (*deals["reasons"], *leads["reasons"]):
        effects = [abs(reason["effect"]) for reason in json.loads(text)]
        assert effects == sorted(effects, reverse=True)
        assert all(set(reason) == {"feature", "label", "value", "effect"} for reason in json.loads(text))
    assert any(json.loads(text) for text in leads["reasons"])


def test_csv_holds_what_parquet_holds(vigie: Any, company: Any, tmp_path: Path) -> None:
    """The suffix decides the format, and nothing else."""
    for name in ("d.parquet", "d.csv", "d.csv.gz"):
        score(vigie, company, "deals", tmp_path / name, "--as-of", "2024-11-15")
    whole = pd.read_parquet(tmp_path / "d.parquet")
    for name in ("d.csv", "d.csv.gz"):
        frame = pd.read_csv(tmp_path / name, dtype={"deal_id": "str", "reason_missing": "str"})
        for column in ("as_of", "close_p10", "close_p50", "close_p90"):
            frame[column] = pd.to_datetime(frame[column], utc=True).astype(whole[column].dtype)
        pd.testing.assert_frame_equal(frame, whole)


def test_asked_moments_keep_their_order(vigie: Any, company: Any, tmp_path: Path) -> None:
    """One row an asked moment; a record closed, unknown or not yet there has no score, and says why."""
    history = Store.open(str(company.history)).read()
    leads = history.leads
    closed = leads.loc[leads["closed_recorded_at"] < AS_OF, "lead_id"].iloc[0]
    later = leads.loc[leads["recorded_at"] > AS_OF, "lead_id"].iloc[0]
    live = open_at(history, "lead", AS_OF)[:2].tolist()
    ids = [live[1], closed, "nobody", later, live[0], live[1]]
    as_of = ["2024-11-15T00:00:00+00:00"] * 3 + [
        "2024-11-15",
        "2024-11-15T02:00:00+02:00",
        "2024-11-15T00:00:00Z",
    ]
    moments = tmp_path / "moments.csv"
    pd.DataFrame({"note": "x", "as_of": as_of, "lead_id": ids}).to_csv(moments, index=False)
    said = score(vigie, company, "leads", tmp_path / "l.parquet", "--snapshots", moments)
    frame = pd.read_parquet(tmp_path / "l.parquet")
    assert frame["lead_id"].tolist() == ids
    assert (frame["as_of"] == AS_OF).all()
    assert frame["reason_missing"].fillna("").tolist() == ["", "closed", "unknown", "not_known_yet", "", ""]
    empty = frame["reason_missing"].notna()
    assert frame.loc[empty, ["propensity", "reasons"]].isna().all(axis=None)
    assert frame.loc[~empty, ["propensity", "reasons"]].notna().all(axis=None)
    assert frame["propensity"].iloc[0] == frame["propensity"].iloc[5]
    assert said["missing"] == {"closed": 1, "unknown": 1, "not_known_yet": 1}


def test_asked_moments_score_as_open_records_do(vigie: Any, company: Any, tmp_path: Path) -> None:
    """A Parquet file of every open record and the moment gives the scores of --as-of, to the last bit."""
    score(vigie, company, "deals", tmp_path / "open.parquet", "--as-of", "2024-11-15")
    whole = pd.read_parquet(tmp_path / "open.parquet")
    whole[["deal_id", "as_of"]].iloc[::-1].to_parquet(tmp_path / "moments.parquet")
    score(vigie, company, "deals", tmp_path / "asked.parquet", "--snapshots", tmp_path / "moments.parquet")
    asked = pd.read_parquet(tmp_path / "asked.parquet").iloc[::-1].reset_index(drop=True)
    pd.testing.assert_frame_equal(asked, whole)


def test_ids_stay_text(vigie: Any, company: Any, tmp_path: Path) -> None:
    """An id with leading zeros, or like a missing value, comes back as it was asked."""
    moments = tmp_path / "moments.csv"
    moments.write_text("lead_id,as_of\n007,2024-11-15\nNA,2024-11-15\n")
    score(vigie, company, "leads", tmp_path / "l.parquet", "--snapshots", moments)
    assert pd.read_parquet(tmp_path / "l.parquet")["lead_id"].tolist() == ["007", "NA"]


def test_reasons_are_as_many_and_in_the_language_asked_for(vigie: Any, company: Any, tmp_path: Path) -> None:
    """At most so many each way; labels in French; the probability does not depend on either."""
    score(vigie, company, "leads", tmp_path / "en.parquet", "--as-of", "2024-11-15")
    asked = ("--as-of", "2024-11-15", "--reasons", 1, "--language", "fr")
    score(vigie, company, "leads", tmp_path / "fr.parquet", *asked)
    en, fr = pd.read_parquet(tmp_path / "en.parquet"), pd.read_parquet(tmp_path / "fr.parquet")
    assert all(len(json.loads(text)) <= 2 for text in fr["reasons"])
    assert {r["label"] for t in fr["reasons"] for r in json.loads(t)} - {
        r["label"] for t in en["reasons"] for r in json.loads(t)
    }
    assert en["propensity"].equals(fr["propensity"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("id,as_of\n1,2024-11-15\n", ("moments.csv", "'lead_id'")),
        ("lead_id,when\n1,2024-11-15\n", ("moments.csv", "'as_of'")),
        ("lead_id,as_of\nL1,2024-11-15\nL2,2024-11-15T08:00\n", ("row 2", "as_of", "no time zone")),
        ("lead_id,as_of\nL1,tomorrow\n", ("row 1", "as_of", "'tomorrow'", "is no moment")),
        ("lead_id,as_of\n,2024-11-15\n", ("row 1", "lead_id", "is empty")),
        ("", ("moments.csv", "cannot be read")),
    ],
)
def test_a_file_of_moments_that_cannot_be_used_is_refused(
    vigie: Any, company: Any, tmp_path: Path, content: str, words: tuple[str, ...]
) -> None:
    """The message names file, row, column, value and remedy; the scores that were there stay."""
    moments, out = tmp_path / "moments.csv", tmp_path / "scores.csv"
    moments.write_text(content)
    out.write_text("earlier scores")
    message = refused(vigie, company, "leads", out, "--snapshots", moments)
    assert all(word in message for word in words), message
    assert out.read_text() == "earlier scores"
    assert {path.name for path in tmp_path.iterdir()} == {"moments.csv", "scores.csv"}


def test_naive_moments_in_parquet_are_refused(vigie: Any, company: Any, tmp_path: Path) -> None:
    """Times of day without a zone are refused, dates alone are 00:00 UTC."""
    moments = tmp_path / "moments.parquet"
    naive = pd.to_datetime(["2024-11-15 00:00", "2024-11-15 08:00"])
    pd.DataFrame({"lead_id": ["L1", "L2"], "as_of": naive}).to_parquet(moments)
    message = refused(vigie, company, "leads", tmp_path / "l.csv", "--snapshots", moments)
    assert "row 2" in message
    assert "row 1" not in message
    pd.DataFrame({"lead_id": ["L1"], "as_of": naive[:1]}).to_parquet(moments)
    assert score(vigie, company, "leads", tmp_path / "l.csv", "--snapshots", moments)["rows"] == 1


def test_a_cut_parquet_file_is_refused(vigie: Any, company: Any, tmp_path: Path) -> None:
    """Half a file of moments is named as one that cannot be read."""
    moments = tmp_path / "moments.parquet"
    pd.DataFrame({"lead_id": ["L1"] * 99, "as_of": [AS_OF] * 99}).to_parquet(moments)
    moments.write_bytes(moments.read_bytes()[:-20])
    message = refused(vigie, company, "leads", tmp_path / "l.csv", "--snapshots", moments)
    assert "moments.parquet: cannot be read" in message


@pytest.mark.parametrize("asked", [(), ("--as-of", "2024-11-15", "--snapshots", "moments.csv")])
def test_one_way_of_asking_is_needed(
    vigie: Any, company: Any, tmp_path: Path, asked: tuple[str, ...]
) -> None:
    """Neither or both of --as-of and --snapshots is a wrong use."""
    assert "one of the two" in refused(vigie, company, "leads", tmp_path / "l.csv", *asked, code=2)


@pytest.mark.parametrize("moment", ["2024-11-15T08:00", "yesterday", "2024-13-01", "0001-01-01T00:00+14:00"])
def test_a_moment_that_is_none_is_a_wrong_use(vigie: Any, company: Any, tmp_path: Path, moment: str) -> None:
    """A moment without a zone, or none at all, is refused with how to write it."""
    message = refused(vigie, company, "leads", tmp_path / "l.csv", "--as-of", moment, code=2)
    assert moment in message
    assert "2024-05-31" in message


def test_a_score_file_has_a_known_suffix(vigie: Any, company: Any, tmp_path: Path) -> None:
    """Another suffix is refused before any work."""
    message = refused(vigie, company, "leads", tmp_path / "scores.xlsx", "--as-of", "2024-11-15")
    assert ".csv, .csv.gz, .parquet" in message


def test_a_folder_that_is_not_there_is_named(vigie: Any, company: Any, tmp_path: Path) -> None:
    """The message says to make it."""
    message = refused(vigie, company, "leads", tmp_path / "no" / "l.csv", "--as-of", "2024-11-15")
    assert "make it first" in message


def test_a_full_disk_leaves_the_earlier_scores(
    vigie: Any, company: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where writing fails half-way, the file that was there stays whole and no other is left."""
    out = tmp_path / "scores.csv"
    out.write_text("earlier scores")

    def fill(frame: pd.DataFrame, path: Path, **options: object) -> None:
        Path(path).write_text("lead_id,as")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fill)
    message = refused(vigie, company, "leads", out, "--as-of", "2024-11-15")
    assert "No space left on device" in message
    assert out.read_text() == "earlier scores"
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


def test_before_anything_was_recorded_there_is_nothing_to_score(
    vigie: Any, company: Any, tmp_path: Path
) -> None:
    """A moment before the history gives a file with its columns and no row."""
    said = score(vigie, company, "leads", tmp_path / "l.csv", "--as-of", "1999-01-01")
    assert said["rows"] == 0
    assert list(pd.read_csv(tmp_path / "l.csv").columns) == LEADS
