"""The database of a tuning: opened, shared by several processes, and its errors in plain words.

Any database that Optuna's ``RDBStorage`` (SQLAlchemy) speaks will do: a SQLite file, PostgreSQL, MySQL.
"""

from __future__ import annotations

import random
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from cnnlab.errors import RunError, UsageError

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import RDBStorage
    from sqlalchemy.engine import URL

# How a database driver calls the longest time in seconds that it waits for an answer to a connection.
_TIMEOUT_OF_DRIVER = {
    "psycopg": "connect_timeout",
    "psycopg2": "connect_timeout",
    "pg8000": "timeout",
    "pymysql": "connect_timeout",
    "mysqldb": "connect_timeout",
    "mysqlconnector": "connection_timeout",
}
_CONNECT_SECONDS = 5
_TABLES_SECONDS = 10  # how long the tables are tried to be made, while other processes make them too
_LOCKED_SECONDS = 30  # how long a process waits for others that write the same SQLite file
_DRIVERS = {
    "postgresql": 'pip install "psycopg[binary]", and write postgresql+psycopg://...',
    "mysql": "pip install pymysql, and write mysql+pymysql://...",
}
_IDENTITY = "cnnlab"  # the attribute of a study that says what it tunes


def require_optuna() -> None:
    """Load Optuna and silence its own messages.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise UsageError('Tuning needs Optuna, which is not installed: pip install "cnnlab[tune]".') from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)


@contextmanager
def no_experimental_warnings() -> Iterator[None]:
    """Use parts of Optuna that it calls experimental, without a warning for each."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def connect(storage: str) -> RDBStorage:
    """Open a database, and make Optuna's tables if there are none.

    Args:
        storage: the address of the database, as SQLAlchemy writes it.

    Raises:
        UsageError: the address is wrong, or the driver is not installed.
        RunError: the database cannot be reached.
    """
    with plain_storage_errors(storage):
        return _connect(_parse(storage))


def open_study(database: RDBStorage, name: str, identity: Mapping[str, Any]) -> Study:
    """Open the study ``name`` in a database, and begin it if it is not there.

    Args:
        database: the open database.
        name: the name of the study in the database.
        identity: plain values that say what is tuned; those of the study must be the same.

    Raises:
        UsageError: the study tunes something else.
    """
    import optuna

    study = optuna.create_study(
        storage=database, study_name=name, direction="maximize", load_if_exists=True,
        sampler=optuna.samplers.RandomSampler(),
    )  # fmt: skip
    if _IDENTITY not in study.user_attrs:
        with suppress(optuna.exceptions.StorageInternalError):  # another process writes it in the same moment
            study.set_user_attr(_IDENTITY, dict(identity))
    if differences := _differences(begun_with(study), identity):
        raise UsageError(
            f'The tuning "{name}" was begun with other settings: {"; ".join(differences)}. '
            "Go on with those, or begin another one with --out and --name."
        )
    return study


def begun_with(study: Study) -> dict[str, Any]:
    """Return the plain values that say what a study tunes, as :func:`open_study` was given them when it was begun."""
    return study.user_attrs[_IDENTITY]


def load_study(storage: str, name: str) -> Study:
    """Open a study that is there.

    Raises:
        RunError: the database cannot be reached.
    """
    import optuna

    with plain_storage_errors(storage):
        return optuna.load_study(study_name=name, storage=connect(storage))


def shown(storage: str) -> str:
    """Return the address of a database without its password."""
    try:
        url = _parse(storage)
    except UsageError:
        return storage.partition("://")[0] + "://..."
    secret = [key for key in url.query if "pass" in key.lower()]
    return url.difference_update_query(secret).render_as_string(hide_password=True)


@contextmanager
def plain_storage_errors(storage: str) -> Iterator[None]:
    """Turn errors of the database inside the block into one that says what to do.

    Raises:
        RunError: the database cannot be reached or used.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        reason = _first_line(error)
    except RuntimeError as error:  # what Optuna says about tables of another version
        if "storage" not in str(error):
            raise
        reason = _first_line(error)
    else:
        return
    password = _parse(storage).password
    reason = reason.replace(str(password), "***") if password else reason
    raise RunError(
        f"The storage {shown(storage)} cannot be used: {reason}. Is the address right, and does the database run? "
        "Finished trials are kept there; the same command goes on with them."
    ) from None


def _parse(storage: str) -> URL:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    example = "sqlite:///study.db or postgresql+psycopg://user:password@host/database"
    if "://" not in storage:
        raise UsageError(f'The storage "{storage}" is no address of a database. Write it as {example}.')
    try:
        url = make_url(storage)
        url.get_dialect()
    except NoSuchModuleError:
        kind = storage.partition("://")[0]
        hint = "Write postgresql+psycopg://..." if kind.startswith("postgres") else f"Write it as {example}."
        raise UsageError(f'SQLAlchemy knows no database "{kind}". {hint}') from None
    except (ArgumentError, ValueError):
        raise UsageError(
            f"The storage {storage.partition('://')[0]}://... is no address. Write it as {example}."
        ) from None
    return url


def _connect(url: URL) -> RDBStorage:
    """Open the database, and make the tables.

    Several processes that begin at once make the tables at once; all but one of them fail and try again.
    """
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError

    backend, driver = url.get_backend_name(), url.get_driver_name()
    if backend == "sqlite":
        options: dict[str, Any] = {"connect_args": {"timeout": _LOCKED_SECONDS}}
    else:
        timeout = _TIMEOUT_OF_DRIVER.get(driver)
        options = {"pool_pre_ping": True, "connect_args": {timeout: _CONNECT_SECONDS} if timeout else {}}
    started = time.monotonic()
    while True:
        try:
            return RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=options)
        except ImportError:
            advice = _DRIVERS.get(backend, f"pip install {driver}")
            raise UsageError(f'The driver "{driver}" of {backend} is not installed: {advice}') from None
        except SQLAlchemyError as error:
            others = isinstance(error, IntegrityError | ProgrammingError) or "already exists" in str(error)
            if not others or time.monotonic() - started > _TABLES_SECONDS:
                raise
            time.sleep(random.uniform(0.1, 0.5))


def _first_line(error: BaseException) -> str:
    cause: BaseException = error
    while cause.__cause__ is not None or getattr(cause, "orig", None) is not None:
        cause = getattr(cause, "orig", None) or cause.__cause__  # type: ignore[assignment]
    return (str(cause).strip() or type(cause).__name__).splitlines()[0].rstrip(".")


def _differences(begun: Mapping[str, Any], identity: Mapping[str, Any]) -> list[str]:
    """Return what differs between two identities, a text for each key, those of groups one by one."""
    texts = []
    for group in identity:
        before, now = begun.get(group), identity[group]
        if isinstance(before, dict) and isinstance(now, dict):
            texts += [
                f"{group} {key}={before.get(key)!r}, not {now.get(key)!r}"
                for key in sorted({*before, *now})
                if before.get(key) != now.get(key)
            ]
        elif before != now and group != "images":
            texts.append(f"{group} {before!r}, not {now!r}")
    if not texts and begun.get("images") != identity.get("images"):
        texts.append("other training or validation images")  # their checksums would tell nobody anything
    return texts
