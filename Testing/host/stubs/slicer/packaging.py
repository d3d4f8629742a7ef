"""slicer.packaging as a test needs it: what is installed is looked up; nothing is ever installed."""

from importlib import metadata

# Every request to install, in order: {"requirements": [...], **options}. Tests read and clear it.
requests = []


def _as_list(requirements):
    return [requirements] if isinstance(requirements, str) else [str(item) for item in requirements]


def load_requirements(path):
    """The requirements of a requirements.txt file: comment lines, empty lines and options left out."""
    with open(path, encoding="utf-8") as file:
        lines = [line.strip() for line in file]
    return [line for line in lines if line and not line.startswith(("#", "-"))]


def load_pyproject_dependencies(path):
    """``project.dependencies`` of a pyproject.toml file."""
    import tomllib

    with open(path, "rb") as file:
        return tomllib.load(file).get("project", {}).get("dependencies", [])


def pip_check(requirements):
    """Are all requirements met by the metadata of what is installed?"""
    from packaging.requirements import Requirement

    for text in _as_list(requirements):
        requirement = Requirement(text)
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            return False
        if not requirement.specifier.contains(version, prereleases=True):
            return False
    return True


def pip_ensure(
    requirements,
    constraints=None,
    skip_packages=None,
    prompt_install=True,
    prompt_restart=True,
    requester=None,
    skip_in_testing=True,
    show_progress=True,
):
    """Ask, then install what is missing. In testing mode Slicer installs nothing; so does this, always."""
    requests.append({"requirements": _as_list(requirements), "requester": requester})


def pip_install(requirements, *, blocking=True, logCallback=None, completedCallback=None, **options):
    """Note the request; install nothing; report success to ``completedCallback``."""
    requests.append({"requirements": _as_list(requirements), **options})
    if completedCallback is not None:
        completedCallback(0)


def isPipInstallInProgress():
    return False
