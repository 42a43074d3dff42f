"""Seconds and memory of `vigie rescore`, with reasons, by how many leads are open in the store.

    python benchmarks/rescoring.py
    python benchmarks/rescoring.py --open 50000 100000 200000 --bundle DIR

The open leads of a simulated company, with their activities, changes, accounts and deals, are repeated under
other ids until there are enough. The command runs as a process of its own on a fresh store: once for the
first scores, once a day later, when each score is compared with the one before, and once when nothing is due.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil

from crm.history import History
from crm.observed import last_recorded
from crm.simulator import simulate
from crm.store import Store
from training.train import train

#: Leads of the company whose open ones are repeated.
COMPANY = 20_000
#: Repetitions that are loaded at once.
AT_ONCE = 10


@dataclass(frozen=True)
class Cost:
    """What one run took: wall and processor seconds, and the most memory of all its processes, in MB."""

    wall: float
    processor: float
    memory: float
    said: dict[str, int]


def open_part(history: History) -> dict[str, pd.DataFrame]:
    """Give the open leads of a history, and all rows that their scores may read."""
    leads = history.leads[history.leads["outcome"].isna() & history.leads["gone_at"].isna()]
    deals = history.deals[history.deals["lead_id"].isin(leads["lead_id"])]
    accounts = history.accounts[history.accounts["account_id"].isin(leads["account_id"])]
    about = {"lead": leads["lead_id"], "deal": deals["deal_id"], "account": accounts["account_id"]}
    changes, acts = history.changes, history.activities
    mine = [
        changes[(changes["entity"] == name) & changes["record_id"].isin(ids)] for name, ids in about.items()
    ]
    own = acts["lead_id"].isin(leads["lead_id"]) | acts["deal_id"].isin(deals["deal_id"])
    return {
        "accounts": accounts,
        "leads": leads,
        "deals": deals,
        "activities": acts[own],
        "changes": pd.concat(mine),
    }


def copied(frames: dict[str, pd.DataFrame], suffix: str) -> dict[str, pd.DataFrame]:
    """Give the same rows under other ids."""
    ids = ("account_id", "lead_id", "deal_id", "activity_id", "change_id", "record_id")
    return {
        name: frame.assign(**{column: frame[column] + suffix for column in ids if column in frame.columns})
        for name, frame in frames.items()
    }


def fill(url: str, n_open: int, seed: int) -> tuple[pd.Timestamp, int]:
    """Fill a store; give the moment just after the last thing in it, and how many activities it holds."""
    history = simulate(COMPANY, seed=seed).history
    part = open_part(history)
    store, n_activities = Store.open(url, create=True), 0
    copies = -(-n_open // len(part["leads"]))
    for first in range(0, copies, AT_ONCE):
        some = [copied(part, f"-{number}") for number in range(first, min(first + AT_ONCE, copies))]
        frames = {name: pd.concat([one[name] for one in some], ignore_index=True) for name in part}
        n_activities += len(frames["activities"])
        store.load(frames, source="benchmark", exported_at=None)
    return last_recorded(history), n_activities


def run(*arguments: str) -> Cost:
    """Run a command of Vigie, and watch what it and its children take."""
    command = [sys.executable, "-m", "vigie", *arguments, "--json"]
    began = time.perf_counter()
    before = os.times()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        most = [0.0]
        threading.Thread(target=_watch, args=(child.pid, most), daemon=True).start()
        said, _ = child.communicate()
    after = os.times()
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(time.perf_counter() - began, processor, most[0], json.loads(said)["lead"])


def _watch(pid: int, most: list[float]) -> None:
    """Note the most memory that a process and its children hold at once, without what they share."""
    try:
        process = psutil.Process(pid)
        while True:
            found = [one.memory_full_info().uss for one in (process, *process.children(recursive=True))]
            most[0] = max(most[0], sum(found) / 1e6)
            time.sleep(0.1)
    except psutil.Error:
        return


def main() -> None:
    """Fill stores of each size and rescore them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--open", type=int, nargs="+", default=[25_000, 100_000], help="open leads")
    parser.add_argument("--train-leads", type=int, default=3000)
    parser.add_argument("--bundle", type=Path, help="a trained bundle, instead of training one")
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle = asked.bundle or Path(folder) / "bundle"
        if asked.bundle is None:
            past = simulate(asked.train_leads, seed=asked.seed + 1).history
            train(past, last_recorded(past)).bundle.save(bundle)
        for n_open in asked.open:
            url = f"sqlite:///{Path(folder) / f'{n_open}.sqlite'}"
            as_of, n_activities = fill(url, n_open, asked.seed)
            print(f"{n_open:,} open leads, {n_activities:,} activities", flush=True)
            same = ("rescore", "--history", url, "--bundle", str(bundle), "--entity", "lead")
            for name, moment in (
                ("first scores", as_of),
                ("a day later", as_of + pd.Timedelta(days=1)),
                ("nothing due", as_of + pd.Timedelta(days=1)),
            ):
                cost = run(*same, "--as-of", moment.isoformat())
                rate = cost.said["n_scored"] / cost.wall
                print(
                    f"  {name:<14} {cost.wall:7.1f} s, {cost.processor:7.1f} s of processor, "
                    f"{cost.memory:6.0f} MB, {cost.said['n_scored']:>9,} scored, {rate:7,.0f} a second",
                    flush=True,
                )
            Path(url.removeprefix("sqlite:///")).unlink()


if __name__ == "__main__":
    main()
