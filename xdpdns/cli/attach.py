"""`xdpdns attach` and `xdpdns detach`."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from xdpdns import logs, roles
from xdpdns.cli.config import said_of_variables
from xdpdns.cli.options import (
    exact_edns_option,
    latency_option,
    netns_option,
    output_option,
    print_json,
    program_options,
    program_settings,
    response_labels_option,
    responses_option,
    role_option,
)
from xdpdns.cli.types import InterfaceName, ListenAddress, UserName, WebConfigPath
from xdpdns.errors import SettingsError, XdpdnsError
from xdpdns.interrupt import ends_at_once

if TYPE_CHECKING:
    from xdpdns.hooks import Hook
    from xdpdns.listen import Address
    from xdpdns.privileges import User
    from xdpdns.web_config import WebConfigFile

log = logging.getLogger(__name__)


def _log(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Set the log up before other options, whose files may be worth a warning."""
    if not ctx.resilient_parsing:
        said = {**ctx.params, str(param.name): value}
        level = "debug" if said.get("verbose") else said.get("log_level", "info")
        logs.configure(said.get("log_format", "text"), level)
    return value


@click.command()
@click.argument("interfaces", nargs=-1, type=InterfaceName(), metavar="IFACE...")
@click.option(
    "--all",
    "all",
    is_flag=True,
    help="Count on every interface but the loopback, as soon as it is up: those there are and "
    "those that come. One that can't be counted is reported, and the others are.",
)
@click.option(
    "--exclude",
    multiple=True,
    metavar="PATTERN",
    help="Interfaces that --all and patterns are to leave out, such as 'docker*'; may be given "
    "several times.",
)
@click.option(
    "--hook",
    type=click.Choice(["xdp", "tcx", "clsact"]),
    default="xdp",
    show_default=True,
    help="Where to count: xdp, one program an interface, sees all that arrives; tcx (Linux 6.6) "
    "and clsact get along with other programs, and see what the XDP program passes.",
)
@role_option(*roles.ROLES)
@responses_option
@response_labels_option
@latency_option(0)
@click.option(
    "--mode",
    type=click.Choice(["auto", "native", "generic"]),
    default="auto",
    show_default=True,
    help="At XDP, run in the driver (native) or behind it (generic); auto: native where the driver "
    "can.",
)
@click.option(
    "--web.listen-address",
    "web_listen_address",
    type=ListenAddress(),
    multiple=True,
    default=[":10530"],
    show_default=True,
    metavar="ADDRESS:PORT",
    help="Where to serve /metrics; may be given several times. [::1]:10530 for IPv6.",
)
@click.option(
    "--web.config.file",
    "web_config_file",
    type=WebConfigPath(),
    help="TLS and basic auth, in the format of the Prometheus exporter toolkit.",
)
@click.option(
    "--program-stats",
    is_flag=True,
    help="Have the kernel time the program (xdpdns_program_run_seconds_total); "
    "costs some 20 to 40 ns a packet.",
)
@click.option(
    "--keep",
    is_flag=True,
    help="Go on counting when this ends, however it ends; the next `attach --keep` with the same "
    "options goes on from the same values. `xdpdns detach` ends it.",
)
@click.option(
    "--user",
    type=UserName(),
    metavar="NAME|UID",
    help="Once attached and bound, serve as this user; all capabilities go in any case.  "
    "[default: of root, xdpdns if there is one, else nobody]",
)
@netns_option
@exact_edns_option
@click.option(
    "--log-format",
    type=click.Choice(logs.FORMATS),
    default="text",
    show_default=True,
    is_eager=True,
    callback=_log,
    help="json: one object a line on the standard error, with time, level, logger, message and "
    "fields such as interface.",
)
@click.option(
    "--log-level",
    type=click.Choice(logs.LEVELS),
    default="info",
    show_default=True,
    is_eager=True,
    callback=_log,
    help="The least that is logged; of lines of one kind ten a minute at most.",
)
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    is_eager=True,
    callback=_log,
    help="The same as --log-level debug: also how long the steps of the start took.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only see whether the options, and the files and interfaces that they name, can be used, "
    "say so and end.",
)
@program_options
def attach(
    interfaces: tuple[str, ...],
    all: bool,  # noqa: A002  named as the option is
    exclude: tuple[str, ...],
    hook: Hook,
    role: str,
    responses: bool,
    response_labels: tuple[str, ...],
    latency_sample: int,
    mode: str,
    web_listen_address: tuple[Address, ...],
    web_config_file: WebConfigFile | None,
    program_stats: bool,
    keep: bool,
    user: User | None,
    netns: str | None,
    exact_edns: bool,
    log_format: str,
    log_level: str,
    verbose: bool,
    dry_run: bool,
    **options: Any,
) -> None:
    """Count on interfaces and serve /metrics, until Ctrl-C.

    Refuses an interface that has another XDP program, and takes only its own program off at the
    end; --keep leaves it. Needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON.

    An interface may be a pattern in quotes ('eth*'): all that match are counted, also those that
    come later; of the loopback only if it is named. An interface that goes and comes back is
    counted on from the same values.

    \b
    Examples:
      xdpdns attach eth0
      xdpdns attach 'eth*' --exclude eth7
      xdpdns attach --all
      xdpdns attach eth0 eth1 --web.listen-address 127.0.0.1:10530
      xdpdns attach eth0 --netns customer --web.listen-address :10531
      xdpdns attach eth0 --keep
      xdpdns attach eth0 --hook tcx
      xdpdns attach eth0 --latency-sample 16
      xdpdns attach eth0 --role client
      xdpdns attach eth0 --labels af,qtype,tld --tlds nl,de,arpa
    """  # noqa: D301  \b is for click: keep these lines
    del log_format, log_level, verbose  # see _log()
    with ends_at_once():
        from xdpdns import app
        from xdpdns.cli.config_file import in_use, problems
        from xdpdns.service import START_AGAIN
        from xdpdns.supervisor.selection import Selection

    for sentence in said_of_variables(click.get_current_context()):
        log.warning("%s", sentence)
    if not interfaces and not all:
        raise SettingsError("no interface: name one, or give a pattern in quotes, or --all.")
    if len(set(interfaces)) != len(interfaces):
        raise SettingsError("an interface is named twice: name each once.")
    if hook != "xdp" and mode != "auto":
        raise SettingsError(f"--mode {mode} is of XDP: leave it away with --hook {hook}.")
    settings = app.AgentSettings(
        selection=Selection.of(interfaces, all, exclude),
        hook=hook,
        mode=mode,
        listen=web_listen_address,
        keep=keep,
        stats=program_stats,
        netns=netns,
        user=user,
        web_config=web_config_file,
        programs=roles.programs(
            role,
            replace(program_settings(options), exact_edns=exact_edns, timing=latency_sample),
            hook=hook,
            responses=responses,
            response_labels=response_labels,
        ),
        recheck=lambda: problems(file) if (file := in_use()) else (),
    )
    if dry_run:
        from xdpdns import preflight

        click.echo(preflight.dry_run(settings))
        return
    try:
        again = app.run(settings)
    except XdpdnsError as error:
        if logs.for_people() or isinstance(error, SettingsError):
            raise
        log.error("%s", error)
        raise SystemExit(1) from None
    if again:
        raise SystemExit(START_AGAIN)


@click.command()
@click.argument("interfaces", nargs=-1, required=True, type=InterfaceName(), metavar="IFACE...")
@netns_option
@output_option()
def detach(interfaces: tuple[str, ...], netns: str | None, output: str) -> None:
    """Take off what xdpdns put on interfaces, and nothing else.

    Needed only after `attach --keep`, whose program and counters stay, and at clsact after agent
    and supervisor were killed: otherwise `attach` cleans up by itself.

    \b
    Examples:
      xdpdns detach eth0
      xdpdns detach eth0 --netns customer
    """  # noqa: D301  \b is for click: keep these lines
    from xdpdns import keep
    from xdpdns.netns import enter

    if netns is not None:
        enter(netns)
    done = []
    for name in interfaces:
        said = keep.detach(name)
        done.append({"interface": name, "done": said})
        if output == "text":
            for line in said:
                click.echo(line)
    if output == "json":
        print_json({"interfaces": done})
