"""Vigie and its peers, side by side, on the same snapshots and features.

    python benchmarks/peers.py --data DIR --cutoffs 2011-12-12 2012-01-02
    python benchmarks/peers.py --set olist --data DIR --cutoffs 2018-02-01 --peers vigie naive-bayes base-rate

DIR holds the set's files as its mapping in examples/ names them. At each cutoff everything learns from what
was recorded before it, and is judged on what followed: deals open then whose outcome is known later, leads
that come in during the next two months a day after they came. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from peer_cases import EXPORTED_AT, OPEN_LEADS, Bools, Case, Floats, make_case, read_history
from peer_models import PEERS, Answer, NotInstalled, Options, with_stage_timing

from training.labels import LOST, WON
from training.metrics import auc, bootstrap_mean, calibration_error, log_losses

#: Days at which the Brier score of the incidences is taken.
DAYS: Floats = np.arange(1.0, 31.0)
RESAMPLES = 2000
SEED = 7


@dataclass(frozen=True)
class Judged:
    """One model's answers at one cutoff, and how long it took."""

    case: Case
    answer: Answer
    seconds: float

    @property
    def won(self) -> Bools:
        """Which of the decided records were won, shape (n,)."""
        return self.case.won(self.case.judge)[self.case.decided]

    @property
    def probability(self) -> Floats:
        """What was given for the decided records, shape (n,)."""
        return self.answer.probability[self.case.decided]

    def losses(self) -> Floats:
        """Give each decided record's log loss."""
        return log_losses(self.won, self.probability)

    def measures(self) -> dict[str, float]:
        """Give the measures of this cutoff."""
        labels, decided = self.case.judge.labels, self.case.decided
        found = {"auc": auc(self.won, self.probability), "log_loss": float(self.losses().mean())}
        if self.answer.median_days is not None:
            found["mae_days"] = float(np.abs(labels.durations - self.answer.median_days)[decided].mean())
        if self.answer.incidence is not None:
            # All were watched for longer than these days, so nothing is censored in them.
            watched = labels.observed >= DAYS[-1]
            happened = labels.durations[:, None] <= DAYS
            scores = [
                (part - (happened & (labels.events == event)[:, None]))[watched] ** 2
                for part, event in zip(self.answer.incidence, (WON, LOST), strict=True)
            ]
            found["integrated_brier"] = float(np.mean(scores))
        return found | {"seconds": self.seconds}


def judge(case: Case, name: str, options: Options) -> Judged:
    """Let one peer learn and answer."""
    began = time.process_time()
    answer = PEERS[name](case, DAYS, options)
    seconds = time.process_time() - began
    if name == "vigie":
        seconds += case.vigie_seconds
    return Judged(case, with_stage_timing(case, answer, DAYS), seconds)


def summarise(name: str, judged: Sequence[Judged], vigie: Sequence[Judged]) -> dict[str, Any]:
    """Give one row: means over the cutoffs, calibration over all of them, and the paired gain of Vigie."""
    each = [one.measures() for one in judged]
    row: dict[str, Any] = {"peer": name, "cutoffs": each}
    row |= {key: float(np.mean([found[key] for found in each])) for key in each[0]}
    won = np.concatenate([one.won for one in judged])
    row["ece"] = calibration_error(won, np.concatenate([one.probability for one in judged]))
    if name != "vigie" and vigie:
        gains = np.concatenate([one.losses() for one in judged]) - np.concatenate([v.losses() for v in vigie])
        ids = np.concatenate([one.case.judge.ids[one.case.decided] for one in judged])
        records = np.unique(ids, return_inverse=True)[1].astype(np.int64)
        mean, low, high = bootstrap_mean(gains, records, RESAMPLES, SEED)
        row |= {"vigie_gain": mean, "vigie_gain_low": low, "vigie_gain_high": high}
    return row


_COLUMNS = (
    ("auc", "AUC", ".4f"),
    ("log_loss", "log loss", ".4f"),
    ("ece", "ECE", ".4f"),
    ("mae_days", "MAE, days", ".2f"),
    ("integrated_brier", "integrated Brier", ".4f"),
    ("seconds", "seconds", ".1f"),
)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Give the rows as a Markdown table, best log loss first."""
    names = [title for _, title, _ in _COLUMNS]
    lines = [f"| | {' | '.join(names)} | Vigie's gain in log loss, 90% |", "|---" * (len(names) + 2) + "|"]
    done = sorted((row for row in rows if "missing" not in row), key=lambda row: float(row["log_loss"]))
    for row in done:
        cells = [format(row[key], form) if key in row else "—" for key, _, form in _COLUMNS]
        gain = "—"
        if "vigie_gain" in row:
            gain = f"{row['vigie_gain']:+.4f} ({row['vigie_gain_low']:+.4f} … {row['vigie_gain_high']:+.4f})"
        lines.append(f"| {row['peer']} | {' | '.join(cells)} | {gain} |")
    lines += [f"| {row['peer']} | {row['missing']} |{' |' * len(names)}" for row in rows if "missing" in row]
    return "\n".join(lines)


def compare(cases: Sequence[Case], names: Sequence[str], options: Options) -> list[dict[str, Any]]:
    """Let every peer answer every case."""
    rows: list[dict[str, Any]] = []
    vigie: list[Judged] = []
    for name in sorted(names, key=lambda name: name != "vigie"):
        try:
            judged = []
            for case in cases:
                judged.append(judge(case, name, options))
                done = judged[-1].measures()
                print(f"  {name} at {case.cutoff:%Y-%m-%d}: log loss {done['log_loss']:.4f}", flush=True)
        except NotInstalled as error:
            rows.append({"peer": name, "missing": f"not installed: {error}"})
            continue
        except Exception as error:
            # Others' libraries fail in their own ways, and the figures of the rest must not be lost.
            traceback.print_exc()
            rows.append({"peer": name, "missing": f"failed: {type(error).__name__}", "failed": True})
            continue
        vigie = judged if name == "vigie" else vigie
        rows.append(summarise(name, judged, vigie))
    return rows


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--set", choices=sorted(EXPORTED_AT), default="bpic2012")
    parser.add_argument("--data", type=Path, required=True, help="the folder of the set's files")
    parser.add_argument("--cutoffs", nargs="+", required=True, help="days, midnight UTC")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--open-leads", choices=OPEN_LEADS, default="no", help="see peer_cases.py")
    parser.add_argument("--flaml-seconds", type=float, default=60.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="a file for the figures")
    asked = parser.parse_args()
    # The peers warn of their own use of older interfaces; that is theirs to mend.
    warnings.filterwarnings("ignore")
    options = Options(threads=asked.threads, flaml_seconds=asked.flaml_seconds)
    history = read_history(asked.set, asked.data)
    cases = []
    for text in asked.cutoffs:
        cutoff = pd.Timestamp(text, tz="UTC")
        case = make_case(history, asked.set, cutoff, asked.threads, asked.open_leads)
        known, judged = case.known, case.judge.take(case.decided)
        print(
            f"{text}: {len(case.learn.x):,} snapshots, {len(known.x):,} of them with a known answer "
            f"({case.won(known).sum():,} won); {len(judged.x):,} records judged, "
            f"{case.won(judged).sum():,} won; {len(case.spec.names)} features",
            flush=True,
        )
        cases.append(case)
    rows = compare(cases, asked.peers, options)
    print(f"\n{table(rows)}")
    if asked.json is not None:
        figures = {"set": asked.set, "cutoffs": asked.cutoffs, "threads": asked.threads}
        figures |= {"open_leads": asked.open_leads, "flaml_seconds": asked.flaml_seconds, "peers": rows}
        asked.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if any("failed" in row for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
