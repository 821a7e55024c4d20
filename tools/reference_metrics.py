"""The page about the metrics: each with its kind, its label and every value of that."""

from reference_markdown import code, page, table

from backstop.app.commit_waits import BOUNDS_S
from backstop.entrypoints.http.metrics import COMMITS, COMMITS_WORDS, GAUGES, PATH


def metrics_page() -> str:
    """Return every metric that the guard serves."""
    bounds = ", ".join(f"`{bound:g}`" for bound in BOUNDS_S)
    return page(
        "Metrics",
        f"`GET {PATH}` answers in the text format of Prometheus and needs the token like every "
        "other call (`authorization: {credentials_file: …}` in the scrape configuration). "
        "[Alert rules](alert-rules.yml) for it are in the file beside this page; they expect the "
        "job to be called `backstop`.",
        "Each label has the values listed here and no others: no order, bot or message makes a "
        "new time series. What is not known is absent, not 0. Counters without `records` and "
        "`alerts` in their name begin anew with the process.",
        table(
            ("metric", "kind", "label", "values", "what it tells"),
            (
                *(
                    (
                        code(f"backstop_{it.name}{'_total' if it.counts else ''}"),
                        "counter" if it.counts else "gauge",
                        code(it.label),
                        "the version" if it.label == "version" else ", ".join(map(code, it.values)),
                        it.words,
                    )
                    for it in GAUGES
                ),
                (
                    code(f"backstop_{COMMITS}"),
                    "histogram",
                    code("le"),
                    f"{bounds}, `+Inf`",
                    COMMITS_WORDS,
                ),
            ),
        ),
    )
