"""Whether Prometheus stores what was recorded: the strictest reader there is, and the one that matters."""

import math
import time

from expectation import CREATED, Native, expected, shown
from scraper import Pages, Prometheus, eventually

CONTENT_TYPES = {
    "text": "text/plain; version=0.0.4; charset=utf-8",
    "openmetrics": "application/openmetrics-text; version=1.0.0; charset=utf-8",
    "protobuf": "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
}
# What Prometheus writes itself.
OWN = {"up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added"}


def scraped(cases, scrapes, forms):
    """What is not stored as it was recorded, by format. `scrapes` are by case and format."""
    # Debian's Prometheus knows classic names only.
    pages = {
        f"/{form}/{number}": (CONTENT_TYPES[form], scrapes[case.name, form])
        for number, case in enumerate(cases) if not case.is_quoted for form in forms
    }
    with Pages(pages) as server, Prometheus([{"job_name": "exposition", "static_configs": [
        {"targets": [server.address], "labels": {"__metrics_path__": path, "instance": path}} for path in pages
    ]}], scrape_interval="3s") as prometheus:
        if not eventually(20, lambda: is_scraped(prometheus.targets(), len(pages))):
            return {form: [f"not all is scraped in time; {prometheus.said()}"] for form in forms}
        errors = {target["labels"]["instance"]: target["lastError"] for target in prometheus.targets()}
        found = {form: [] for form in forms}
        for path in pages:
            _, form, number = path.split("/")
            case = cases[int(number)]
            said = [errors[path]] if errors[path] else []
            if not said and not case.is_open:
                families = shown(expected(case.document, case.utf8), form, case.scheme)
                said = differences(prometheus.query(f'{{instance="{path}"}}'), families)
            found[form] += [f"{case.name}: {each}" for each in said]
    return found


def is_scraped(targets, count):
    """Whether every page was read. One that did not come in time, on a machine with much to do, comes again."""
    return len(targets) == count and all(
        target["health"] != "unknown" and not target["lastError"].startswith('Get "') for target in targets
    )


def differences(rows, families):
    wanted = {}
    for family in families.values():
        native = {labels for name, labels in family.samples if name.endswith(" native")}
        for (name, labels), (value, _) in family.samples.items():
            plain = frozenset(pair for pair in labels if pair[0] != "le")
            if isinstance(value, Native):
                wanted[name.removesuffix(" native"), labels] = value
            # Where there are exponential buckets, the others are not stored. Times of creation are, from text.
            elif not (plain in native and name.endswith(("_bucket", "_sum", "_count", "_created"))):
                wanted[name, with_bound(name, labels)] = value
        for name, labels in list(wanted):
            if isinstance(wanted[name, labels], Native):
                wanted[name, labels] = (
                    wanted[name, labels], family.samples[name + "_count", labels][0], family.samples[name + "_sum", labels][0],
                )
    seen = {}
    for row in rows:
        name = row["metric"].pop("__name__")
        labels = {key: value for key, value in row["metric"].items() if key not in ("job", "instance")}
        if name not in OWN:
            seen[name, with_bound(name, labels.items())] = row["histogram"][1] if "histogram" in row else row["value"][1]
    found = [f"{key} is not stored" for key in wanted.keys() - seen.keys() if wanted[key] is not CREATED]
    found += [f"{key} is stored" for key in seen.keys() - wanted.keys()]
    return found + [
        f"{key} is {seen[key]}, not {wanted[key]}" for key in wanted.keys() & seen.keys() if not same(seen[key], wanted[key])
    ]


def with_bound(name, labels):
    """Labels with `le` as a number, where it is one: Prometheus may write it otherwise."""
    def value(key, text):
        try:
            return float(text) if key == "le" and name.endswith("_bucket") else text
        except ValueError:
            return text
    return frozenset((key, value(key, text)) for key, text in labels)


def same(seen, wanted):
    if wanted is CREATED:
        return abs(float(seen) - time.time()) < 120
    if isinstance(seen, dict) != isinstance(wanted, tuple):
        return False
    if isinstance(seen, dict):
        native, count, sum = wanted
        counts = [float(bucket[3]) for bucket in seen.get("buckets") or []]
        return counts == in_order(native) and float(seen["count"]) == count and is_number(seen["sum"], sum)
    return is_number(seen, wanted)


def in_order(native):
    """Counts from the lowest bucket to the highest one."""
    negative = [native.negative[index] for index in sorted(native.negative, reverse=True)]
    zero = [native.zero_count] if native.zero_count else []
    return [float(count) for count in negative + zero + [native.positive[index] for index in sorted(native.positive)]]


def is_number(seen, wanted):
    seen, wanted = float(seen), float(wanted)
    return seen == wanted or math.isnan(seen) and math.isnan(wanted)
