"""What the dashboards are put together from: queries, panels, sections, variables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from grafana_foundation_sdk.builders import bargauge, heatmap, stat, table, timeseries
from grafana_foundation_sdk.builders import common as look
from grafana_foundation_sdk.builders import dashboard as dash
from grafana_foundation_sdk.builders import prometheus as prom
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

OVERVIEW, ANSWERS = "xdpdns", "xdpdns-answers"
FLEET, TRIAGE = "xdpdns-fleet", "xdpdns-triage"
TITLES = {
    OVERVIEW: "DNS queries",
    ANSWERS: "DNS answers",
    FLEET: "DNS fleet",
    TRIAGE: "DNS triage",
}
"""The dashboards by uid; a uid never changes, since bookmarks and links are made of it."""

SOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
VARIABLES = "&".join(f"${{{name}:queryparam}}" for name in ("datasource", "job"))
PLACE = f"{VARIABLES}&${{instance:queryparam}}&${{interface:queryparam}}&${{__url_time_range}}"

Steps = Sequence[tuple[float | None, str]]
GOOD: Steps = [(None, "green")]


# --- queries ------------------------------------------------------------------------------------


def series(expr: str, legend: str = "", ref: str = "A") -> prom.Dataquery:
    """A query whose values are drawn over the time."""
    return prom.Dataquery().datasource(SOURCE).expr(expr).legend_format(legend).ref_id(ref).range()


def instant(expr: str, legend: str = "", ref: str = "A") -> prom.Dataquery:
    """A query for the end of the time range only."""
    query = prom.Dataquery().datasource(SOURCE).expr(expr).legend_format(legend).ref_id(ref)
    return query.instant()


def rows(expr: str, ref: str = "A") -> prom.Dataquery:
    """A query whose labels become the columns of a table."""
    return instant(expr, ref=ref).format(PromQueryFormat.TABLE)


# --- panels -------------------------------------------------------------------------------------

Panel = TypeVar(
    "Panel", timeseries.Panel, stat.Panel, bargauge.Panel, table.Panel, heatmap.Panel, dash.Panel
)


def link(title: str, url: str) -> dash.DashboardLink:
    """A link of a panel or of a value."""
    return dash.DashboardLink(title).type(dashboard.DashboardLinkType.LINK).url(url)


def siblings(uid: str) -> list[dashboard.DashboardLink]:
    """A panel's links to the other dashboards, with the same place and time."""
    others = [other for other in TITLES if other != uid]
    return [link(TITLES[other], f"/d/{other}?{PLACE}").build() for other in others]


def thresholds(steps: Steps) -> dash.ThresholdsConfig:
    """Absolute thresholds: each colour from its value on, the first from minus infinity."""
    made = [dashboard.Threshold(value=value, color=color) for value, color in steps]
    return dash.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(made)


def _common(
    panel: Panel, title: str, text: str, queries: Sequence[prom.Dataquery], unit: str, size: str
) -> Panel:
    width, height = (int(part) for part in size.split("x"))
    panel.title(title).description(text).datasource(SOURCE).span(width).height(height).unit(unit)
    for query in queries:
        panel.with_target(query)
    return panel


def graph(
    title: str,
    text: str,
    *queries: prom.Dataquery,
    unit: str = "reqps",
    size: str = "12x8",
    stack: str = "",
    most: float | None = None,
    steps: Steps = (),
    log: bool = False,
) -> timeseries.Panel:
    """Lines over the time; `stack` is `normal` or `percent`; `steps` draws threshold lines.

    `log` is for values of very different sizes, all above 0.
    """
    panel = _common(timeseries.Panel(), title, text, queries, unit, size)
    panel.fill_opacity(70 if stack else 10).line_width(1)
    if log:
        scale = look.ScaleDistributionConfig().type(common.ScaleDistribution.LOG).log(10)
        panel.scale_distribution(scale).fill_opacity(0)
    else:
        panel.min(0)
    panel.show_points(common.VisibilityMode.NEVER)
    panel.tooltip(
        look.VizTooltipOptions()
        .mode(common.TooltipDisplayMode.MULTI)
        .sort(common.SortOrder.DESCENDING)
    )
    panel.legend(
        look.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.TABLE)
        .placement(common.LegendPlacement.RIGHT)
        .show_legend(True)
        .calcs(["lastNotNull", "max"])
    )
    if stack:
        panel.stacking(look.StackingConfig().mode(common.StackingMode(stack)))
    if most is not None:
        panel.max(most)
    elif unit == "percentunit":
        panel.axis_soft_max(0.01)  # else a line at 0 has an axis up to 10,000 %
    if steps:
        panel.thresholds(thresholds(steps))
        mode = common.GraphThresholdsStyleMode.DASHED
        panel.thresholds_style(look.GraphThresholdsStyleConfig().mode(mode))
    return panel


def number(
    title: str,
    text: str,
    query: prom.Dataquery,
    *,
    unit: str,
    steps: Steps = GOOD,
    size: str = "3x5",
    empty: str = "",
    course: bool = True,
) -> stat.Panel:
    """One number, with its course below it; `empty` is shown when there is none."""
    panel = _common(stat.Panel(), title, text, [query], unit, size)
    panel.thresholds(thresholds(steps))
    mode = common.BigValueGraphMode.AREA if course else common.BigValueGraphMode.NONE
    panel.graph_mode(mode)
    panel.color_mode(common.BigValueColorMode.VALUE)
    panel.text(look.VizTextDisplayOptions().value_size(28))  # alike, however long a number is
    panel.reduce_options(look.ReduceDataOptions().calcs(["lastNotNull"]))
    return panel.no_value(empty) if empty else panel


def bars(
    title: str, text: str, query: prom.Dataquery, *, unit: str = "reqps", size: str = "8x10"
) -> bargauge.Panel:
    """A bar for each series, the largest first."""
    panel = _common(bargauge.Panel(), title, text, [query], unit, size)
    panel.orientation(common.VizOrientation.HORIZONTAL).min(0)
    panel.display_mode(common.BarGaugeDisplayMode.BASIC)
    color = dash.FieldColor().mode(dashboard.FieldColorModeId.FIXED).fixed_color("blue")
    panel.color_scheme(color).text(look.VizTextDisplayOptions().title_size(12).value_size(12))
    panel.reduce_options(look.ReduceDataOptions().calcs(["lastNotNull"]))
    return panel


def heat(
    title: str, text: str, query: prom.Dataquery, *, axis: str, size: str = "8x8"
) -> heatmap.Panel:
    """A histogram's course: the colour is the number of queries in a bucket."""
    panel = _common(heatmap.Panel(), title, text, [query.format(PromQueryFormat.HEATMAP)], "", size)
    panel.y_axis(heatmap.YAxisConfig().unit(axis))
    return panel.color(
        heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues").steps(64)
    )


Column = tuple[str, str, Steps]
"""Heading, unit and thresholds of a query's column in a table."""


def grid(
    title: str,
    text: str,
    queries: Sequence[str],
    columns: Sequence[Column],
    *,
    size: str,
    order: int | None = None,
    hide: Sequence[str] = (),
) -> table.Panel:
    """A table: a row for each set of labels, a column for each query.

    `order` is the position of the query whose values order the rows, the largest first; it has no
    column. `hide` are labels that need none.
    """
    refs = "ABCDEFGHIJKLMNOP"
    panel = _common(
        table.Panel(),
        title,
        text,
        [rows(expr, refs[at]) for at, expr in enumerate(queries)],
        "",
        size,
    )
    panel.min_width(90)
    # Grafana names the column of one query "Value", and those of several by their letters.
    names = ["Value"] if len(queries) == 1 else [f"Value #{ref}" for ref in refs[: len(queries)]]
    shown = [name for at, name in enumerate(names) if at != order]
    panel.with_transformation(_transform("merge", {}))
    if order is not None:
        by = {"fields": {}, "sort": [{"field": names[order], "desc": True}]}
        panel.with_transformation(_transform("sortBy", by))
    excluded = ["Time", *hide, *(names[at] for at in [order] if at is not None)]
    renamed = {name: heading for name, (heading, _, _) in zip(shown, columns, strict=True)}
    panel.with_transformation(
        _transform(
            "organize",
            {"excludeByName": dict.fromkeys(excluded, True), "renameByName": renamed},
        )
    )
    for heading, unit, steps in columns:
        properties = [dashboard.DynamicConfigValue(id_val="unit", value=unit)]
        if steps:
            properties += [
                dashboard.DynamicConfigValue(id_val="thresholds", value=thresholds(steps).build()),
                dashboard.DynamicConfigValue(
                    id_val="custom.cellOptions", value={"type": "color-text"}
                ),
            ]
        panel.override_by_name(heading, properties)
    return panel


def _transform(name: str, options: dict[str, Any]) -> dashboard.DataTransformerConfig:
    return dashboard.DataTransformerConfig(id_val=name, options=options)


# --- the dashboard itself -----------------------------------------------------------------------


def variable(name: str, query: str, text: str) -> dash.QueryVariable:
    """A variable with the values of a label; any number of them may be chosen."""
    return (
        dash.QueryVariable(name)
        .label(name.capitalize())
        .description(text)
        .datasource(SOURCE)
        .query(query)
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(dashboard.VariableOption(text=["All"], value=["$__all"]))
    )


def section(made: dash.Dashboard, title: str, *panels: Any) -> None:
    """A row's heading and the panels below it."""
    made.with_row(dash.Row(title))
    for panel in panels:
        made.with_panel(panel)


def board(uid: str, text: str, *, since: str, refresh: str = "30s") -> dash.Dashboard:
    """A dashboard without panels: its variables, and links to its siblings."""
    made = (
        dash.Dashboard(TITLES[uid])
        .uid(uid)
        .description(text)
        .tags(["dns", "xdpdns"])
        .time(since, "now")
        .refresh(refresh)
        .timezone("browser")
        .editable()
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
    )
    for other in TITLES:
        if other != uid:
            made.link(
                dash.DashboardLink(TITLES[other])
                .type(dashboard.DashboardLinkType.LINK)
                .url(f"/d/{other}")
                .include_vars(True)
                .keep_time(True)
            )
    made.with_variable(
        dash.DatasourceVariable("datasource").label("Data source").type("prometheus")
    )
    made.with_variable(
        variable("job", "label_values(xdpdns_build_info, job)", "The scrape job of the agents.")
    )
    made.with_variable(
        variable(
            "instance",
            'label_values(xdpdns_build_info{job=~"$job"}, instance)',
            "The agents, as Prometheus names them.",
        )
    )
    return made.with_variable(
        variable(
            "interface",
            'label_values(xdpdns_up{job=~"$job",instance=~"$instance"}, interface)',
            "The interfaces whose packets are counted.",
        )
    )
