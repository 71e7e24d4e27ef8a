"""Families found by entry point, systems found by name. Nothing heavy is imported to list them.

Built-in families come through the same door as a stranger's: `[project.entry-points."gencore.families"]`.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import importlib
import importlib.metadata
import os
from collections.abc import Callable, Iterable
from typing import Any

from gencore.errors import GencoreError, PluginError, UnknownNameError, suggest
from gencore.spec import API_VERSION, DataName, Family, SystemSpec

GROUP = "gencore.families"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """One entry point and what became of it: a family, or the reason why there is none."""

    name: str
    target: str
    distribution: str
    version: str
    family: Family | None = None
    problem: str | None = None


def _load(entry: importlib.metadata.EntryPoint) -> Plugin:
    distribution, version = (entry.dist.name, entry.dist.version) if entry.dist else ("unknown", "0")
    family, problem = None, None
    try:
        family = entry.load()
        if not isinstance(family, Family):
            family, problem = None, f"{entry.value} is a {type(family).__name__}; expected a gencore.Family"
    except Exception as error:
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
        """Import the `model` or `recipe` of system `name`.

        Raises PluginError where the import fails, with the command that installs what is missing.
        """
        plugin, spec = self.owner(name)
        assert plugin.family is not None
        target = getattr(spec, field)
        module, _, attribute = target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            extra = f"[{plugin.family.extra}]" if plugin.family.extra else ""
            raise PluginError(
                f"System {name!r} needs the module {error.name!r}, which is not installed: "
                f'run pip install "{plugin.distribution}{extra}".'
            ) from error
        except AttributeError as error:
            raise PluginError(f"System {name!r} of {plugin.distribution}: there is no {target}.") from error
        except Exception as error:
            raise PluginError(
                f"System {name!r} of {plugin.distribution} failed to import {module}: {type(error).__name__}: {error}."
            ) from error


@functools.cache
def default_registry() -> Registry:
    """The registry of what is installed in this environment."""
    return Registry()


def list_systems(pattern: str = "*", *, family: str | None = None, role: str | None = None) -> tuple[SystemSpec, ...]:
    """The installed systems: see `Registry.systems`."""
    return default_registry().systems(pattern, family=family, role=role)


__all__ = ["GROUP", "GencoreError", "Plugin", "Registry", "default_registry", "list_systems"]
