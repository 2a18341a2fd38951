"""What the devices of a scan were set to: by descriptor, what changed, and which versions these are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from braid_hpc.scans.forms import form_of
from braid_hpc.vocabulary.errors import NotFoundError
from braid_hpc.vocabulary.settings import LONGEST_NAME, settings_digest

if TYPE_CHECKING:
    from braid_hpc.store.store import Store

__all__ = ["Configuration", "SettingChange", "Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a device was set to, as a descriptor says it.

    Attributes
    ----------
    device : str
        Its name.
    stream, descriptor : str
        Name of the stream and uid of the descriptor: the events of that descriptor were taken so.
    time : float or None
        Of the descriptor, in seconds since 1970.
    data : dict
        Values by setting.
    timestamps : dict
        When each was set, in seconds since 1970.
    data_keys : dict
        What the descriptor says of each: units, types.
    ref : str or None
        The version ``config:<device>@n``; None if there is none in the store.
    """

    device: str
    stream: str
    descriptor: str
    time: float | None
    data: dict[str, Any]
    timestamps: dict[str, Any]
    data_keys: dict[str, Any]
    ref: str | None


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A setting of a device that is another one.

    Attributes
    ----------
    device, key : str
        Which.
    before, after : object
        Its values; None where it was not there.
    descriptor : str
        Since which descriptor; "" between scans.
    """

    device: str
    key: str
    before: Any
    after: Any
    descriptor: str = ""


class Configuration(Mapping[str, tuple[Settings, ...]]):
    """What the devices of a scan were set to: device to its settings, one for each descriptor that has them.

    Parameters
    ----------
    store : Store
        Open.
    descriptors : list of dict
        By time.
    then : dict of str to int
        The moment: ``at`` and ``as_of``.
    """

    def __init__(self, store: Store, descriptors: list[dict[str, Any]], then: dict[str, int]) -> None:
        self._store = store
        self._then = then
        given: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
        for each in descriptors:
            devices = each.get("configuration")
            for device, about in devices.items() if type(devices) is dict else ():
                if type(device) is str and type(about) is dict:
                    given.append((device, about, each))
        refs = self._refs([device for device, _, _ in given])
        found: dict[str, list[Settings]] = {}
        for device, about, each in given:
            data, timestamps, data_keys = (
                value if type(value := about.get(name)) is dict else {} for name in ("data", "timestamps", "data_keys")
            )
            ref = refs.get((device[:LONGEST_NAME], settings_digest(about))) if data else None
            time = each.get("time")
            found.setdefault(device, []).append(
                Settings(
                    device,
                    str(each.get("name", "")),
                    str(each.get("uid", "")),
                    float(time) if type(time) in (int, float) else None,  # type: ignore[arg-type]
                    data,
                    timestamps,
                    data_keys,
                    ref,
                )
            )
        self._devices = {device: tuple(settings) for device, settings in found.items()}

    def _refs(self, devices: list[str]) -> dict[tuple[str, str], str]:
        """Return the versions of the settings of devices, by name and digest."""
        rows = self._store.sql(
            "select name, digest, version from versions where kind = 'config' and snapshot <= $at "
            "and list_contains($devices::varchar[], name)",
            {"at": self._then["at"], "devices": [device[:LONGEST_NAME] for device in devices]},
        )
        return {(row["name"], row["digest"]): f"config:{row['name']}@{row['version']}" for row in rows}

    def __getitem__(self, device: str) -> tuple[Settings, ...]:
        """Return the settings of a device, by the time of their descriptors.

        Raises
        ------
        NotFoundError
            If no descriptor has it.
        """
        try:
            return self._devices[device]
        except KeyError:
            known = ", ".join(self._devices) or "none"
            raise NotFoundError(f"no descriptor has settings of {device!r:.80}; there are: {known}") from None

    def __contains__(self, device: object) -> bool:
        """Say whether a descriptor has settings of a device."""
        return device in self._devices

    def __iter__(self) -> Iterator[str]:
        """Yield the devices."""
        return iter(self._devices)

    def __len__(self) -> int:
        """Return how many devices there are."""
        return len(self._devices)

    def of(self, descriptor: str) -> dict[str, Settings]:
        """Return the settings with which the events of a descriptor were taken.

        Parameters
        ----------
        descriptor : str
            Its uid: the column ``descriptor`` of a table has it for each row.

        Returns
        -------
        dict of str to Settings
            By device.
        """
        return {
            device: each
            for device, settings in self._devices.items()
            for each in settings
            if each.descriptor == descriptor
        }

    def changes(self) -> list[SettingChange]:
        """Return what was set anew within the scan.

        Returns
        -------
        list of SettingChange
            By time; a device that is in several streams is compared within each.
        """
        found = []
        for device, settings in self._devices.items():
            last: dict[str, Settings] = {}
            for each in settings:
                if each.stream in last:
                    found += _differences(device, last[each.stream].data, each.data, each.descriptor)
                last[each.stream] = each
        return found

    def diff(self, other: Configuration) -> list[SettingChange]:
        """Return what is set otherwise in another scan, as the last descriptors of both say it.

        Parameters
        ----------
        other : Configuration
            Of the other scan, whose values are those of `after`.

        Returns
        -------
        list of SettingChange
            By device and setting; devices and settings of one of the two too.
        """
        found = []
        for device in sorted({*self, *other}):
            before = self._devices[device][-1].data if device in self._devices else {}
            after = other._devices[device][-1].data if device in other._devices else {}
            found += _differences(device, before, after, "")
        return found

    def history(self, device: str) -> Any:
        """Return the versions of a device's settings over all scans of the store.

        Parameters
        ----------
        device : str
            Its name.

        Returns
        -------
        History
            As :meth:`braid_hpc.Store.history` of ``config:<device>``, at the moment of this scan.

        Raises
        ------
        NotFoundError
            If there are none.
        """
        return self._store.history(f'config:"{device}"', at=self._then["at"])

    def __repr__(self) -> str:
        """Name the devices."""
        return f"<Configuration of {', '.join(self._devices) or 'no device'}>"


def _differences(device: str, before: dict[str, Any], after: dict[str, Any], since: str) -> list[SettingChange]:
    found = []
    for key in sorted({*before, *after}, key=str):
        one, other = before.get(key), after.get(key)
        if not _same(one, other):
            found.append(SettingChange(device, key, one, other, since))
    return found


def _same(one: Any, other: Any) -> bool:
    from braid_hpc.store.event_documents import canonical

    return form_of(one) == form_of(other) and canonical(one) == canonical(other)
