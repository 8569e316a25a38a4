"""Notes what the project's code reads while it is loaded, so that a later run can tell if it is the same."""

from __future__ import annotations

import importlib.util
import os
import site
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

from alembic_job.fingerprint import Inputs

_SPAWNING = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn")
_AUDITED = frozenset(("open", "os.listdir", "os.scandir", "socket.connect", *_SPAWNING))
_DRIVERS = ("psycopg2", "psycopg", "asyncpg")
_recorders: list[Recorder] = []
_hook_installed = False


class Recorder:
    """Open it before the project is; `inputs` says what was read until then, `doubts` why that may not be all."""

    def __init__(self) -> None:
        self.doubts: set[str] = set()
        self._files: set[str] = set()
        self._listings: set[str] = set()
        self._variables: set[str] = set()
        self.environ: dict[str, str] = {}
        self._paused = 0
        self._begun = time.time()
        self._trees: list[str] = []
        self._names: list[str] = []
        self._ports: set[str] = set()
        self._stdlib = tuple(
            {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")} | {str(Path(__file__).parent.parent)}
        )
        self._sites = tuple(
            {*site.getsitepackages(), site.getusersitepackages(), *map(sysconfig.get_path, ("purelib", "platlib"))}
        )

    def __enter__(self) -> Recorder:
        global _hook_installed  # noqa: PLW0603 - an audit hook can never be removed
        if not _hook_installed:
            sys.addaudithook(_audit)
            _hook_installed = True
        _recorders.append(self)
        self.environ = dict(os.environ)  # as it was before the project changed it
        self._environ_class = type(os.environ)
        os.environ.__class__ = _environ_noting(self, self._environ_class)
        self._restore = [_counting(name, self) for name in _DRIVERS]
        self._finder = _DriverFinder(lambda name: self._restore.append(_counting(name, self)))
        sys.meta_path.insert(0, self._finder)
        return self

    def __exit__(self, *_: object) -> None:
        _recorders.remove(self)
        os.environ.__class__ = self._environ_class
        sys.meta_path.remove(self._finder)
        for restore in self._restore:
            restore()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens inside is our own doing."""
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1

    def expect_port(self, port: str) -> None:
        """A connection there is the database's."""
        self._ports.add(port)

    def begin(self, script_folders: list[str]) -> None:
        """Notes what is in the script folders before it is read."""
        self._trees = _outermost(str(Path(folder).absolute()) for folder in script_folders)
        self._names = _names_below(self._trees)

    def changed_meanwhile(self, inputs: Inputs) -> bool:
        """True if a file was written, made or removed since it may have been read: the answer is then of neither state.

        By the time of the last change of the inode, which no program can set; the clock it is taken from may lag by
        one tick.
        """
        names = _names_below(inputs.trees)
        return names != self._names or any(_changed_at(path) > self._begun - 0.02 for path in (*inputs.files, *names))

    def inputs(self, files: list[str]) -> Inputs:
        """All that was read, as absolute paths; call it while the recorder is still open."""
        modules = [path for module in list(sys.modules.values()) if (path := _source(module))]
        project = {path for path in modules if not path.startswith((*self._stdlib, *self._sites))}
        installed = {path for path in modules if path.startswith(self._sites) and path not in project}
        opened = {path for path in self._files if not path.startswith((*self._stdlib, *self._sites))}
        folders = {str(Path(path).parent) for path in project}
        folders |= {str(Path(folder).absolute()) for folder in sys.path if not folder.endswith(".zip")}
        trees = self._trees
        below = tuple(tree + "/" for tree in trees)
        homes = [Path(), *(Path(file).parent for file in files)]
        dotenv = {str(home.absolute() / ".env") for home in homes}
        named = {str(Path(file).absolute()) for file in files}
        return Inputs(
            files=sorted(path for path in project | opened | named | dotenv if not path.startswith(below)),
            installed=sorted(installed),
            trees=trees,
            listings=sorted(
                path for path in self._listings if not f"{path}/".startswith((*self._stdlib, *self._sites, *below))
            ),
            modules=sorted(path for path in folders if not path.startswith((*self._stdlib, *self._sites))),
            variables=sorted(self._variables),
        )

    def _note(self, event: str, args: tuple[Any, ...]) -> None:
        if self._paused:
            return
        if event == "open":
            self._opened(*args)
        elif event in ("os.listdir", "os.scandir"):
            if isinstance(args[0], str) and not _called_by_import():
                self._listings.add(str(Path(args[0]).absolute()))
        elif event in _SPAWNING:
            self.doubts.add(f"the project started another program ({event})")
        elif event == "socket.connect":
            self._connected(args[1])

    def _opened(self, path: Any, mode: Any, flags: Any) -> None:
        if not isinstance(path, str) or path.endswith(".pyc") or path.startswith(("/dev/", "/proc/")):
            return
        reading = not isinstance(flags, int) or flags & (os.O_WRONLY | os.O_RDWR) == 0
        if reading and path not in self._files and not _called_by_import():
            self._files.add(path if path[0:1] == "/" else str(Path(path).absolute()))

    def _connected(self, address: Any) -> None:
        if isinstance(address, str | bytes):
            known = ".s.PGSQL." in os.fsdecode(address)
        else:
            known = isinstance(address, tuple) and len(address) > 1 and str(address[1]) in self._ports
        if not known:
            self.doubts.add("the project connected to something that is not its database")


class _DriverFinder(MetaPathFinder):
    """Tells when a driver was imported, so that its `connect` can be watched from the first call."""

    def __init__(self, imported: Callable[[str], None]) -> None:
        self._imported = imported
        self._busy = False

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name not in _DRIVERS or self._busy:
            return None
        self._busy = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._busy = False
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            execute(module)
            self._imported(name)

        setattr(spec.loader, "exec_module", exec_module)  # noqa: B010
        return spec


def _names_below(trees: list[str]) -> list[str]:
    """The files below these folders, without byte code."""
    walks = (walk for tree in trees for walk in os.walk(tree))
    return sorted(f"{folder}/{name}" for folder, _, names in walks if "__pycache__" not in folder for name in names)


def _changed_at(path: str) -> float:
    try:
        return Path(path).stat().st_ctime
    except OSError:
        return 0.0


def _outermost(folders: Iterable[str]) -> list[str]:
    """The folders without those that lie in another of them."""
    found = sorted(set(folders))
    return [folder for folder in found if not any(folder.startswith(other + "/") for other in found)]


def _source(module: Any) -> str | None:
    """The file a module's code is in: its source where there is one."""
    file = getattr(module, "__file__", None)
    return str(Path(file).absolute()) if isinstance(file, str) and not file.startswith("<") else None


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if event in _AUDITED:  # first: of 35 events a revision one is
        for recorder in _recorders:
            recorder._note(event, args)


def _called_by_import() -> bool:
    """True if the import system or a look for installed packages asks: both are noted in ways of their own."""
    name = sys._getframe(3).f_code.co_filename
    return name.startswith("<frozen ") or f"{os.sep}importlib{os.sep}" in name or name.endswith("zipfile.py")


def _environ_noting(recorder: Recorder, base: type) -> type:
    """The class of `os.environ` with every read noted; C code's own reads (libpq's PG*) are part of the request."""

    def note(name: str) -> None:
        if not recorder._paused:
            recorder._variables.add(name)

    class Environ(base):  # type: ignore[misc]
        def __getitem__(self, key: str) -> str:
            note(str(key))
            value: str = super().__getitem__(key)
            return value

        def __contains__(self, key: object) -> bool:
            note(str(key))
            return bool(super().__contains__(key))

        def __iter__(self) -> Iterator[str]:
            note("*")
            return iter(list(super().__iter__()))

        def copy(self) -> dict[str, str]:
            note("*")
            base_get = super().__getitem__
            return {key: base_get(key) for key in super().__iter__()}

    return Environ


def _counting(module_name: str, recorder: Recorder) -> Callable[[], None]:
    """Notes calls of a driver's `connect` that no engine made: the project then asks the database by itself."""
    module = sys.modules.get(module_name)
    if module is None or not hasattr(module, "connect"):
        return lambda: None
    original = module.connect

    def connect(*args: Any, **kwargs: Any) -> Any:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if not caller.startswith(("sqlalchemy", "alembic_job")):
            recorder.doubts.add(f"the project connected by itself through {module_name}")
        return original(*args, **kwargs)

    module.connect = connect  # type: ignore[attr-defined]

    def restore() -> None:
        module.connect = original  # type: ignore[attr-defined]

    return restore
