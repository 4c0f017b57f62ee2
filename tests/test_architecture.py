"""The house keeps its shape: sizes, floors, addresses of libraries, tables that match files.

What import-linter cannot see (single files, sizes, calls, what a start really loads) is here.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from manifestd.plugins import Family

ROOT: Final = Path(__file__).parents[1]
HOUSE: Final = ROOT / "manifestd"
MODULES: Final = sorted(HOUSE.rglob("*.py"))
TREES: Final = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}

MAX_MODULE = 400
MAX_FUNCTION = 60
MAX_TEST_MODULE = 600

# Library -> where it may be imported, as the beginning of a path below manifestd/.
ADDRESSES: Final[dict[str, tuple[str, ...]]] = {
    "huggingface_hub": ("sources/hub",),
    "httpx2": ("sources/hub",),
    "boto3": ("sources/s3", "signing/awskms"),
    "botocore": ("sources/s3", "signing/awskms"),
    "urllib3": ("sources/s3", "sources/oci_http", "sources/oci_blob"),
    "cryptography": ("signing/",),
    "sqlite3": ("store/",),
    "sqlite_utils": ("store/",),
    "click": ("cli/",),
    "rich": ("cli/",),
    "blake3": ("reading/",),
    "awscrt": ("reading/",),
    "yaml": ("formats/",),
    "moto": ("loopback/",),
    "apprise": ("notifiers/apprise",),
    "opentelemetry": ("workflows/traces", "workflows/otlp"),
    "requests": (),
    "httpx": (),
}

# A forked worker leaves without its parent's clean-up, and talks to it over a pipe of their own:
# these bytes never come from outside.
EXCUSED: Final = {
    ("reading/forked_worker.py", "os._exit"),
    ("reading/forked_worker.py", "pickle.loads"),
}

FAMILIES: Final = ["sources", "formats", "signing", "reports", "notifiers", "exports"]
# Members that need several files; every other file belongs to the member of its own name.
SOURCE_OF_PREFIX: Final = {"lfs": "directory"}
# Reading a local disk (directories, the Hub cache); asking a server again (the Hub, registries).
SHARED_BY_SOURCES: Final = frozenset({"local", "patience"})


def below(path: Path) -> str:
    """Path below the package, for ids and messages."""
    return path.relative_to(HOUSE).as_posix()


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every module a tree imports, also inside functions, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def calls(names: set[str]) -> list[str]:
    """Where any of these functions is called, but for the excused places."""
    return [
        f"{below(path)}:{node.lineno} {name}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and (name := ast.unparse(node.func)) in names
        if (below(path), name) not in EXCUSED
    ]


def test_nothing_is_decoded_into_a_type_that_another_thread_may_still_be_looking_at() -> None:
    # canonical.prepared says why.
    loose = [
        f"{below(path)}:{node.lineno}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and (kind := _decoded_into(node)) is not None
        if not ast.unparse(kind).startswith(("canonical.prepared(", "prepared("))
    ]
    assert not loose


def _decoded_into(call: ast.Call) -> ast.expr | None:
    """The type of a decoding that happens at run time; decoders of modules are made at import."""
    name = ast.unparse(call.func)
    if name == "msgspec.convert":
        return call.args[1]
    if name in {"msgspec.json.decode", "msgspec.msgpack.decode"}:
        return next((word.value for word in call.keywords if word.arg == "type"), None)
    return None


def test_no_module_is_longer_than_four_hundred_lines() -> None:
    long = {below(path): count for path in MODULES if (count := _lines(path)) > MAX_MODULE}
    assert not long


def test_no_test_module_is_longer_than_six_hundred_lines() -> None:
    paths = (ROOT / "tests").rglob("test_*.py")
    assert not {path.name: count for path in paths if (count := _lines(path)) > MAX_TEST_MODULE}


def test_no_function_is_longer_than_sixty_lines() -> None:
    long = [
        f"{below(path)}:{node.lineno} {node.name}: {_length(node)} lines"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _length(node) > MAX_FUNCTION
    ]
    assert not long


def test_every_module_begins_with_what_it_is() -> None:
    assert not [below(path) for path, tree in TREES.items() if not ast.get_docstring(tree)]


def test_nothing_prints_or_exits_outside_the_command_line() -> None:
    forbidden = {"print", "exit", "quit", "sys.exit", "os._exit", "input", "breakpoint"}
    found = [call for call in calls(forbidden) if not call.startswith(("cli/", "__main__.py"))]
    assert not found


def test_nothing_is_evaluated_or_unpickled() -> None:
    forbidden = {"eval", "exec", "pickle.load", "pickle.loads", "marshal.loads", "yaml.load",
                 "os.system", "torch.load"}  # fmt: skip
    assert not calls(forbidden)


@pytest.mark.parametrize("library", ADDRESSES)
def test_a_library_is_imported_at_its_address_only(library: str) -> None:
    strays = [
        f"{below(path)}:{line}"
        for path, tree in TREES.items()
        for line, name in imports(tree)
        if name.partition(".")[0] == library and not below(path).startswith(ADDRESSES[library])
    ]
    # `startswith(())` is False for every path: no address means nowhere.
    assert not strays


def test_one_source_never_imports_another() -> None:
    strays = []
    for path, tree in TREES.items():
        if path.parent.name != "sources" or path.name == "__init__.py":
            continue
        for line, name in imports(tree):
            parts = name.split(".")
            if parts[:2] == ["manifestd", "sources"] and len(parts) > 2:
                other = _member(parts[2])
                if other not in {"base", *SHARED_BY_SOURCES, *_members_of(path.stem)}:
                    strays.append(f"{below(path)}:{line} {name}")
    assert not strays


def test_no_package_has_a_drawer_for_everything() -> None:
    drawers = {"utils", "util", "helpers", "common", "misc", "manager", "handler"}
    assert not [below(path) for path in MODULES if path.stem in drawers]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_member_of_a_family_has_its_file_and_class(name: str) -> None:
    package = importlib.import_module(f"manifestd.{name}")
    families = [value for value in vars(package).values() if isinstance(value, Family)]
    assert len(families) == 1
    assert families[0].name == name
    for member, target in families[0].members.items():
        module, _, attribute = target.partition(":")
        assert module.startswith(f"manifestd.{name}."), member
        path = ROOT / (module.replace(".", "/") + ".py")
        assert path.is_file(), f"{member}: {module} does not exist"
        names = {node.name for node in TREES[path].body if isinstance(node, ast.ClassDef)}
        assert attribute in names, f"{member}: no class {attribute}"


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_says_what_it_promises(name: str) -> None:
    tree = TREES[HOUSE / name / "base.py"]
    bases = [node for node in tree.body if isinstance(node, ast.ClassDef) and _is_abstract(node)]
    assert bases
    for node in bases:
        assert ast.get_docstring(node), node.name


def test_every_command_has_its_file() -> None:
    from manifestd.cli.main import COMMANDS

    for name, (target, line) in COMMANDS.items():
        module, _, attribute = target.partition(":")
        spec = importlib.util.find_spec(module)
        assert spec is not None, f"{name}: {module} does not exist"
        assert attribute, name
        assert line.endswith("."), name


def test_lists_of_public_names_are_sorted_and_true() -> None:
    for path, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                names = ast.literal_eval(node.value)
                dotted = "manifestd." + below(path).removesuffix(".py").replace("/", ".")
                module = importlib.import_module(
                    dotted.removesuffix(".__init__")
                    if path != HOUSE / "__init__.py"
                    else "manifestd"
                )
                assert len(names) == len(set(names)), dotted
                assert names == sorted(names, key=_all_order), dotted
                assert not [name for name in names if not hasattr(module, name)], dotted


def test_the_front_door_offers_what_it_lists() -> None:
    tree = TREES[HOUSE / "__init__.py"]
    imported = {alias.asname or alias.name for node in tree.body
                if isinstance(node, ast.ImportFrom) for alias in node.names}  # fmt: skip
    import manifestd

    assert set(manifestd.__all__) == imported - {"annotations"}


@pytest.mark.parametrize(
    ("module", "never"),
    [
        (
            "manifestd.cli.main",
            "boto3 botocore huggingface_hub sqlite_utils cryptography yaml rich",
        ),
        (
            "manifestd.cli.diff",
            "boto3 botocore huggingface_hub sqlite_utils cryptography yaml rich",
        ),
        ("manifestd.workflows.compare", "boto3 botocore huggingface_hub sqlite_utils yaml click"),
        ("manifestd.workflows.verify", "boto3 botocore huggingface_hub sqlite_utils yaml click"),
        ("manifestd.store", "boto3 botocore huggingface_hub sqlite_utils cryptography click"),
        ("manifestd.sources", "boto3 botocore huggingface_hub httpx2"),
        ("manifestd.formats", "yaml numpy"),
        ("manifestd.reports", "sqlite3 cryptography"),
        ("manifestd.rules.merkle", "sqlite3 cryptography click"),
        ("manifestd.model.note", "cryptography"),
    ],
)
def test_importing_a_module_never_loads_a_heavy_library(module: str, never: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.fail(f"{module} does not exist")
    program = (
        f"import sys, {module}\nprint(*[name for name in {never.split()!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.split() == []


def _lines(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n")


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _members_of(stem: str) -> set[str]:
    """Whose file it is; what all local sources share may use the directory's pointer reader."""
    member = _member(stem)
    return {member, "directory"} if member == "local" else {member}


def _member(stem: str) -> str:
    prefix = stem.partition("_")[0]
    return SOURCE_OF_PREFIX.get(prefix, prefix)


def _is_abstract(node: ast.ClassDef) -> bool:
    return any("ABC" in ast.unparse(base) for base in node.bases)


def _all_order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions, as the linter sorts them."""
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2, name)
