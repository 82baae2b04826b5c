"""
The third source: build from the projects' published Go modules, with the ordinary Go client, at the same versions.

go.sum pins every module by digest, so that what is compiled is what was committed; what comes out is recorded by its
digest when it is published to the cache. It needs a module proxy and no download site.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from khw import interrupt
from khw.artifacts import images, toolchain
from khw.artifacts.cache import no_space
from khw.artifacts.fetched import Fetched
from khw.artifacts.recipes import RECIPES, Recipe
from khw.errors import ArtifactError, SpaceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from khw.artifacts.cache import Cache
    from khw.artifacts.lock import Entry
    from khw.artifacts.progress import Progress
    from khw.artifacts.toolchain import Go

EVERY = 10.0  # seconds between two lines of progress
LIMIT = 3600.0  # seconds for one build
KUBERNETES_MODULE = "k8s.io/kubernetes"
PAUSE_SOURCE = "build/pause/linux/pause.c"


class Build:
    """Builds artifacts here, one Go build at a time on this machine."""

    name = "build"

    def __init__(self, cache: Cache, recipes: Mapping[str, Recipe] = RECIPES) -> None:
        self.cache = cache
        self.recipes = recipes

    def fetch(self, entry: Entry, architecture: str, scratch: Path, progress: Progress) -> Fetched:
        """Build one artifact into `scratch`."""
        with self.cache.exclusive("build"):
            go = toolchain.find_go(self.cache, progress)
            if entry.recipe == "pause":
                program, origin = _pause(entry, architecture, scratch, go)
            else:
                recipe = self.recipes[entry.name]
                program = _go_build(entry, recipe, architecture, scratch, go, progress)
                origin = f"{go.version}, {recipe.package if recipe.package != '.' else recipe.folder} {entry.version}"
        return Fetched(_finish(entry, architecture, program, scratch), origin)


def _finish(entry: Entry, architecture: str, program: Path, scratch: Path) -> Path:
    if entry.kind == "binary":
        return program
    archive = scratch / entry.file
    image = images.IMAGES[entry.name]
    images.write_image(image, program, reference=entry.reference, architecture=architecture, to=archive)
    return archive


def _go_build(  # noqa: PLR0913 - one build: what, how, for which machine, where, with what, and who listens
    entry: Entry, recipe: Recipe, architecture: str, scratch: Path, go: Go, progress: Progress
) -> Path:
    sources = _sources(recipe.folder, scratch)
    environment = _environment(recipe, architecture)
    program = scratch / entry.name
    options = ["-trimpath", "-buildvcs=false", "-v", "-ldflags", recipe.flags]
    if recipe.tags:
        options += ["-tags", recipe.tags]
    command = [go.command, "build", *options, "-o", str(program), recipe.package]
    _Compilation(entry, environment, sources, scratch / "build.log").run(command, progress)
    return program


def _sources(folder: str, scratch: Path) -> Path:
    """Copy go.mod and its company: an installed khw may lie where nothing can be written."""
    target = scratch / "module"
    with resources.as_file(resources.files("khw.artifacts") / "modules" / folder) as source:
        shutil.copytree(source, target)
    return target


def _environment(recipe: Recipe, architecture: str) -> dict[str, str]:
    environment = {
        **os.environ,
        "GOOS": "linux",
        "GOARCH": architecture,
        "CGO_ENABLED": "1" if recipe.cgo else "0",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOFLAGS": "",
    }
    if recipe.cgo:
        environment["CC"] = toolchain.require_c(architecture)
        toolchain.require_seccomp(architecture)
        environment.update({k: v for k, v in toolchain.c_environment(architecture).items() if k.startswith("PKG_")})
    return environment


class _Compilation:
    """One run of the Go command, its lines counted and told now and then."""

    def __init__(self, entry: Entry, environment: dict[str, str], sources: Path, log: Path) -> None:
        self.entry = entry
        self.what = f"{entry.name} {entry.version}"
        self.environment = environment
        self.sources = sources
        self.log = log
        self.packages = 0
        self.started = time.monotonic()

    def run(self, command: list[str], progress: Progress) -> None:
        """Run it to its end; raise with what it said if it fails."""
        progress(f"{self.what}: building from Go modules")
        with (
            self.log.open("w") as log,
            subprocess.Popen(
                command,
                cwd=self.sources,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            ) as process,
            interrupt.ends_by(lambda: interrupt.kill_group(process)),
        ):
            try:
                self._watch(process, progress)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        interrupt.raise_if_ended()
        if process.returncode:
            raise self._failure(process.returncode)
        progress(f"{self.what}: built in {time.monotonic() - self.started:.0f} s")

    def _watch(self, process: subprocess.Popen[bytes], progress: Progress) -> None:
        while True:
            try:
                process.wait(timeout=EVERY)
            except subprocess.TimeoutExpired:
                seconds = time.monotonic() - self.started
                if seconds > LIMIT:
                    msg = f"building {self.what} did not end in {LIMIT:.0f} s"
                    raise ArtifactError(msg, hint="try again on a quieter machine") from None
                progress(f"{self.what}: {self._state(process)}, {seconds:.0f} s")
            else:
                return

    def _state(self, process: subprocess.Popen[bytes]) -> str:
        lines = self.log.read_text("utf-8", "replace").splitlines()
        fetched = sum(line.startswith("go: downloading ") for line in lines)
        compiled = len(lines) - fetched
        if not compiled:
            return f"{fetched} modules downloaded" if fetched else "loading and linking"
        self.packages = self.packages or self._count(process.args)
        total = f" of at most {self.packages}" if self.packages else ""
        return f"{compiled}{total} packages compiled"

    def _count(self, command: object) -> int:
        """Return of how many packages the program is made, those that are compiled already included."""
        go, *_, package = command if isinstance(command, list) else [str(command)]
        try:
            done = interrupt.run([go, "list", "-deps", package], cwd=self.sources, env=self.environment, timeout=60)
        except subprocess.TimeoutExpired:
            return 0
        return len(done.stdout.splitlines())

    def _failure(self, code: int) -> ArtifactError:
        lines = self.log.read_text("utf-8", "replace").splitlines()
        said = [line for line in lines if line and not line.startswith("go: downloading ")]
        if any("no space left on device" in line for line in said):
            return self._full()
        return ArtifactError(
            f"building {self.what} failed (go build, exit code {code}): " + " | ".join(said[-5:]),
            hint="the Go module proxy must be reachable (go env GOPROXY); or use the upstream or mirror source",
        )

    def _full(self) -> SpaceError:
        for variable in ("GOCACHE", "GOTMPDIR"):
            if directory := self.environment.get(variable):
                return no_space(0, Path(directory), f"building {self.entry.name}")
        return no_space(0, self.log.parent, f"building {self.entry.name} (or in Go's own cache, go env GOCACHE)")


def _pause(entry: Entry, architecture: str, scratch: Path, go: Go) -> tuple[Path, str]:
    """Compile the pause program from its C source in the Kubernetes module, with that project's own flags."""
    compiler = toolchain.require_c(architecture)
    source = _module_directory(go, scratch) / PAUSE_SOURCE
    program = scratch / "pause"
    version = f"-DVERSION=v{entry.version}"
    flags = ["-Os", "-Wall", "-Werror", "-static", "-s", version]
    _checked([compiler, *flags, "-o", str(program), str(source)], scratch, os.environ, f"building {entry.name}")
    return program, f"{compiler}, {KUBERNETES_MODULE} {PAUSE_SOURCE}"


def _module_directory(go: Go, scratch: Path) -> Path:
    sources = _sources("kubernetes", scratch)
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": ""}
    what = f"downloading {KUBERNETES_MODULE}"
    _checked([go.command, "mod", "download", KUBERNETES_MODULE], sources, environment, what)
    command = [go.command, "list", "-m", "-f", "{{.Dir}}", KUBERNETES_MODULE]
    return Path(_checked(command, sources, environment, what).strip())


def _checked(command: Iterable[str], directory: Path, environment: os._Environ[str] | dict[str, str], what: str) -> str:
    done = interrupt.run(list(command), cwd=directory, env=environment, timeout=LIMIT)
    if done.returncode:
        said = " | ".join(done.stderr.decode(errors="replace").strip().splitlines()[-5:])
        msg = f"{what} failed (exit code {done.returncode}): {said}"
        raise ArtifactError(msg, hint="the Go module proxy must be reachable (go env GOPROXY)")
    return done.stdout.decode(errors="replace")
