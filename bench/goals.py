"""What was wanted beside what was seen, and everything that was seen in columns."""

from typing import Any, Final, NamedTuple

from stages import STAGES

Figures = dict[str, Any]
BIG: Final = 1_000_000
"""Messages stored; a smaller store says nothing of growth."""


class Goal(NamedTuple):
    """One line: what, how much was wanted and seen, and whether that is met; None if it does not count."""

    what: str
    wanted: str
    seen: str
    met: bool | None


def _goal(what: str, limit: float, seen: float, unit: str, *, least: bool = False, counts: bool = True) -> Goal:
    met = seen >= limit if least else seen <= limit
    shown = f"{seen:,.0f}" if seen >= 1_000 else f"{seen:,.3g}"  # noqa: PLR2004 - three digits are enough
    return Goal(what, f"{'>=' if least else '<='} {limit:,g} {unit}", f"{shown} {unit}", met if counts else None)


def goals(found: Figures) -> list[Goal]:
    """All goals that were measured; none of a quick run counts."""
    rows = _goals(found)
    return [row._replace(met=None) for row in rows] if found["quick"] else rows


def _goals(found: Figures) -> list[Goal]:
    rows: list[Goal] = []
    runs = [run for run in found.get("closed", []) if "failed" not in run]
    if runs:
        counting = [run for run in runs if not run["doubt"]]
        most = max(run["per_second"] for run in counting or runs)
        rows.append(_goal("accepted and delivered, one core", 11_000, most, "msg/s", least=True, counts=bool(counting)))
    if (run := found.get("both")) and "failed" not in run:
        seen, counts = run["per_second"], not run["doubt"]
        rows.append(_goal("the same, all cores, load included", 16_000, seen, "msg/s", least=True, counts=counts))
        rows.append(_goal("memory of an idle relay with its helpers", 60, run["resting_mb"], "MB"))
    for run in found.get("open", []):
        if run["share"] == 0.5 and "failed" not in run:  # noqa: PLR2004 - the goal's
            for name, limit in (("p50", 3), ("p99", 8), ("p99.9", 20)):
                for kind, more in (("ack", 0), ("delivery", 1)):
                    seen, counts = run[f"{kind}_ms"][name], not run["doubt"]
                    rows.append(_goal(f"{kind} {name} at half the maximum", limit + more, seen, "ms", counts=counts))
    if one := found.get("lone"):
        rows.append(_goal("a lone message above the sync", 1.5, one["ack_ms"]["p50"] - one["fsync_ms"], "ms"))
        rows.append(_goal("memory of an idle relay", 60, one["resting_mb"], "MB"))
    if one := found.get("logins"):
        rows.append(_goal("logins", 4_000, one["per_second"], "/s", least=True, counts=not one["doubt"]))
    if one := found.get("idle"):
        rows.append(_goal("memory of an idle connection", 16, one["rss_kb"], "KB"))
        rows.append(_goal("processor time of an idle connection", 5, one["cpu_us"], "us/s"))
    if one := found.get("backlog"):
        rows.append(_goal("a backlog of 1,000 drained", 60, one["ms"], "ms", counts=one["messages"] == 1_000))  # noqa: PLR2004 - the goal's
    if both := found.get("growth"):
        small, big = both
        counts = big["stored"] >= BIG
        rows.append(
            _goal("a message with a million stored", 1.3, big["relay_us"] / small["relay_us"], "x", counts=counts)
        )
        rows.append(_goal("a start with them", 2, big["start_seconds"], "s", counts=counts))
    if one := found.get("soak"):
        counts = one["seconds"] >= 3_000  # noqa: PLR2004 - most of an hour: a slope needs it
        rows.append(_goal("growth of memory in a soak", 1, one["growth_mb_per_hour"], "MB/h", counts=counts))
        rows.append(_goal("write-ahead log in a soak", 64, one["wal_mib"], "MiB", counts=counts))
    return rows


def _closed(runs: list[Figures]) -> list[str]:
    head = ("msg/s", "relay us", "load us", "relay busy", "load busy", "ack p50", "ack p99")
    lines = [f"{'senders x in flight':<20}" + "".join(f"{name:>11}" for name in head)]
    for run in runs:
        what = f"{run['senders']:>11,} x {run['in_flight']:<6}"
        if "failed" in run:
            lines.append(f"{what}  {run['failed']}")
            continue
        lines.append(
            f"{what}{run['per_second']:>11,.0f}{run['relay_us']:>11.1f}{run['load_us']:>11.1f}"
            f"{run['relay_busy']:>11.0%}{run['load_busy']:>11.0%}"
            f"{run['ack_ms']['p50']:>11.2f}{run['ack_ms']['p99']:>11.2f}"
            + (f"  does not count: {run['doubt']}" if run["doubt"] else "")
        )
    return lines


def _open(runs: list[Figures]) -> list[str]:
    kinds = {"ack": ("p50", "p99", "p99.9", "max"), "delivery": ("p50", "p99", "p99.9", "max"), "late": ("p99",)}
    head = [f"{kind} {name}" for kind, names in kinds.items() for name in names]
    lines = ["", f"{'a second':<20}" + "".join(f"{name:>15}" for name in head) + "   (ms; late: the load itself)"]
    for run in runs:
        what = f"{run['rate']:>9,.0f} ({run['share']:.0%})".ljust(20)
        if "failed" in run:
            lines.append(f"{what}  {run['failed']}")
            continue
        cells = [run[f"{kind}_ms"][name] for kind, names in kinds.items() for name in names]
        lines.append(
            what
            + "".join(f"{cell:>15.2f}" for cell in cells)
            + (f"  {run['refused']:,} refused" if run["refused"] else "")
            + (f"  does not count: {run['doubt']}" if run["doubt"] else "")
        )
    return lines


def _rest(found: Figures) -> list[str]:
    lines: list[str] = []
    if one := found.get("logins"):
        doubt = f"; does not count: {one['doubt']}" if one["doubt"] else ""
        lines.append(
            f"logins: {one['logins']:,} of new users, {one['per_second']:,.0f} a second, {one['relay_us']:,.0f} us of"
            f" the relay and {one['load_us']:,.0f} us of the load each{doubt}"
        )
    if one := found.get("idle"):
        lines.append(f"idle: {one['connections']:,} connections")
    if one := found.get("backlog"):
        low, high = one["range_ms"]
        lines.append(f"backlog: {one['messages']:,} messages, {low:,.0f} to {high:,.0f} ms")
    for one in found.get("growth", []):
        lines.append(
            f"{one['stored']:,} messages stored, {one['accounts']:,} accounts, {one['store_mb']:,.0f} MB:"
            f" {one['relay_us']:,.0f} us a message, start {one['start_seconds']:.2f} s, {one['resting_mb']:,.0f} MB"
        )
    if one := found.get("soak"):
        lines.append(
            f"soak: {one['seconds']:,.0f} s, {one['sent']:,} sent, {one['accepted']:,} accepted, {one['delivered']:,}"
            f" delivered, {one['renewed']:,} connections renewed, at most {one['most_mb']:,.1f} MB"
        )
    return [*([""] if lines else []), *lines]


def tables(found: Figures) -> str:
    """Everything, as plain text."""
    lines = [", ".join(found["machine"]), found["guarantees"], ""]
    if runs := found.get("closed"):
        lines += _closed(runs)
    if run := found.get("both"):
        lines += ["all cores, load included:", *_closed([run])]
    if runs := found.get("open"):
        lines += _open(runs)
    lines += _rest(found)
    if one := found.get("stages"):
        lines += ["", f"{'a message, microseconds of processor time':<56}{sum(one['us'].values()):>8.1f}"]
        lines += [f"  {STAGES[stage]:<54}{spent:>8.1f}" for stage, spent in one["us"].items() if spent]
    if rows := goals(found):
        lines += ["", f"{'goal':<40}{'wanted':>18}{'seen':>16}"]
        words = {True: "met", False: "MISSED", None: "does not count"}
        lines += [f"{row.what:<40}{row.wanted:>18}{row.seen:>16}  {words[row.met]}" for row in rows]
    return "\n".join(lines)
