"""Families found by entry point, systems found by name. Nothing heavy is imported to list them.

Built-in families come through the same door as a stranger's: `[project.entry-points."gencore.families"]`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import functools
import importlib
import importlib.metadata
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gencore.errors import GencoreError, PluginError, UnknownNameError, suggest
from gencore.spec import API_VERSION, DataName, Family, SystemSpec
from gencore_hub.foreign import shown

GROUP = "gencore.families"
SLOW = 10.0
"""Seconds of an import, after which a person is told."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """One entry point and what became of it: a family, or the reason why there is none."""

    name: str
    target: str
    distribution: str
    version: str
    family: Family | None = None
    problem: str | None = None

    @property
    def state(self) -> str:
        """ "ok", or what keeps it, or some of its systems, from being used."""
        newer = [spec.name for spec in (self.family.systems if self.family else ()) if spec.requires_api > API_VERSION]
        if self.problem or not newer:
            return self.problem or "ok"
        return f"{', '.join(newer)}: needs a newer plugin API than this gencore's {API_VERSION}; upgrade gencore"


@contextlib.contextmanager
def _importing(who: str) -> Iterator[None]:
    """A plugin's import: what it prints goes to standard error, and where it takes long, that is said."""

    def tell() -> None:
        sys.stderr.write(
            shown(f"{who} is being imported for {SLOW:.0f} seconds. GENCORE_PLUGINS=a,b loads other plugins alone.\n")
        )

    watch = threading.Timer(SLOW, tell)
    watch.daemon = True
    watch.start()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        watch.cancel()


def _load(entry: importlib.metadata.EntryPoint) -> Plugin:
    distribution, version = (entry.dist.name, entry.dist.version) if entry.dist else ("unknown", "0")
    family, problem = None, None
    try:
        with _importing(f"The plugin {entry.name} of {distribution} {version}"):
            family = entry.load()
        if not isinstance(family, Family):
            family, problem = None, f"{entry.value} is a {type(family).__name__}; expected a gencore.Family"
    except (Exception, SystemExit) as error:
        problem = f"{type(error).__name__}: {error}"
    return Plugin(
        name=entry.name, target=entry.value, distribution=distribution, version=version, family=family, problem=problem
    )


class Registry:
    """The installed families, looked up once, on first use.

    `entry_points` replaces the installed ones (tests). `GENCORE_PLUGINS=a,b` restricts what is loaded to those
    entry points; a name in it that is not installed is an error.
    """

    def __init__(self, entry_points: Callable[[], Iterable[importlib.metadata.EntryPoint]] | None = None) -> None:
        self._entry_points = entry_points or (lambda: importlib.metadata.entry_points(group=GROUP))

    @functools.cached_property
    def plugins(self) -> tuple[Plugin, ...]:
        """Every plugin, the broken ones too, by name."""
        entries = sorted(self._entry_points(), key=lambda entry: (entry.name, entry.value))
        wanted = [name for name in os.environ.get("GENCORE_PLUGINS", "").split(",") if name.strip()]
        if wanted:
            names = {entry.name for entry in entries}
            if missing := [name for name in wanted if name.strip() not in names]:
                raise PluginError(f"GENCORE_PLUGINS names {missing}, not installed.{suggest(missing[0], names)}")
            entries = [entry for entry in entries if entry.name in {name.strip() for name in wanted}]
        return tuple(_load(entry) for entry in entries)

    def _owners(self, name: str) -> list[tuple[Plugin, SystemSpec]]:
        return [(p, s) for p in self.plugins if p.family for s in p.family.systems if s.name == name]

    def systems(
        self, pattern: str = "*", *, family: str | None = None, role: str | None = None
    ) -> tuple[SystemSpec, ...]:
        """The systems whose name matches the shell pattern, sorted by family and name.

        Raises UnknownNameError for an unknown family or role.
        """
        families = {p.family.name for p in self.plugins if p.family}
        if family is not None and family not in families:
            raise UnknownNameError(f"No family {family!r}.{suggest(family, families)}")
        specs = [s for p in self.plugins if p.family for s in p.family.systems]
        roles = {r for s in specs for r in s.roles}
        if role is not None and role not in roles:
            raise UnknownNameError(f"No system has the role {role!r}.{suggest(role, roles)}")
        chosen = [
            s
            for s in specs
            if fnmatch.fnmatchcase(s.name, pattern)
            and (family is None or s.family == family)
            and (role is None or role in s.roles)
        ]
        return tuple(sorted(chosen, key=lambda s: (s.family, s.name)))

    def data_names(self) -> tuple[DataName, ...]:
        """The names of data that families register, by name. Raises PluginError where two claim one."""
        named = [(p, d) for p in self.plugins if p.family for d in p.family.data]
        owners: dict[str, list[str]] = {}
        for plugin, data in named:
            owners.setdefault(data.name, []).append(f"{plugin.distribution} ({plugin.target})")
        if twice := {name: who for name, who in owners.items() if len(who) > 1}:
            name, who = next(iter(twice.items()))
            raise PluginError(f"The data name {name!r} is claimed by {' and '.join(who)}: uninstall one.")
        return tuple(sorted((data for _, data in named), key=lambda data: data.name))

    def owner(self, name: str) -> tuple[Plugin, SystemSpec]:
        """The plugin and the spec of system `name`.

        Raises UnknownNameError (with near names, and the plugins that failed to load), PluginError where two
        distributions claim the name or the plugin needs a newer gencore.
        """
        owners = self._owners(name)
        if not owners:
            broken = [f"{p.distribution} ({p.problem})" for p in self.plugins if p.problem]
            also = f" Not looked into, since they failed to load: {'; '.join(broken)}." if broken else ""
            known = [s.name for p in self.plugins if p.family for s in p.family.systems]
            raise UnknownNameError(f"No system {name!r}.{suggest(name, known)}{also}")
        if len(owners) > 1:
            claims = " and ".join(f"{p.distribution} {p.version} ({p.target})" for p, _ in owners)
            raise PluginError(
                f"System {name!r} is claimed by {claims}. Uninstall one, or set GENCORE_PLUGINS to the wanted ones."
            )
        plugin, spec = owners[0]
        if spec.requires_api > API_VERSION:
            raise PluginError(
                f"System {name!r} of {plugin.distribution} {plugin.version} needs plugin API {spec.requires_api}; "
                f"this gencore has {API_VERSION}. Upgrade gencore."
            )
        return plugin, spec

    def resolve(self, name: str, field: str) -> Any:
        """Import the `model`, `recipe` or `sized` of system `name`.

        Raises PluginError where the import fails, with the command that installs what is missing.
        """
        plugin, spec = self.owner(name)
        assert plugin.family is not None
        target = getattr(spec, field)
        module, _, attribute = target.partition(":")
        try:
            with _importing(f"{module} of {plugin.distribution} {plugin.version}"):
                return getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise PluginError(f"System {name!r} needs {_missing(error.name or module, module, plugin)}") from error
        except AttributeError as error:
            raise PluginError(f"System {name!r} of {plugin.distribution}: there is no {target}.") from error
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"System {name!r} of {plugin.distribution} failed to import {module}: {type(error).__name__}: {error}."
            ) from error


def _missing(module: str, page: str, plugin: Plugin) -> str:
    """A module that is not there, and what to do: of the plugin itself, of its extra, or of neither."""
    if "." in module and module.partition(".")[0] == page.partition(".")[0]:
        return f"{module!r}, which {plugin.distribution} {plugin.version} does not hold: report it to its authors."
    if plugin.family is not None and plugin.family.extra:
        extra = f"{plugin.distribution}[{plugin.family.extra}]"
        return f'the module {module!r}, which is not installed: run pip install "{extra}".'
    return (
        f"the module {module!r}, which is not installed, and which {plugin.distribution} {plugin.version} does not "
        "require though it imports it: install the package that holds it, and report it to the plugin's authors."
    )


@functools.cache
def default_registry() -> Registry:
    """The registry of what is installed in this environment."""
    return Registry()


def list_systems(pattern: str = "*", *, family: str | None = None, role: str | None = None) -> tuple[SystemSpec, ...]:
    """The installed systems: see `Registry.systems`."""
    return default_registry().systems(pattern, family=family, role=role)


__all__ = ["GROUP", "GencoreError", "Plugin", "Registry", "default_registry", "list_systems"]
