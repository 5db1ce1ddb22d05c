"""Where the counting runs: DuckDB in this process, or Spark, locally or on a cluster."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fill.counting import daily
from wire.errors import OcaError, UnavailableError

if TYPE_CHECKING:
    import pyarrow as pa

LOCAL = "local[*]"
_INSTALL = {
    "duckdb": "pip install 'oca-cdn[fill]'",
    "spark": "pip install 'oca-cdn[spark]', and apt-get install default-jre-headless",
}


class EngineError(OcaError):
    """The engine gave up; its own words are in the text."""


class Engine:
    """A connection that counts; made by `connected`."""

    def __init__(self, name: str, connection: Any) -> None:
        """`connection` is Ibis's, to the engine of that name."""
        self._name, self._connection = name, connection

    def count(self, parts: Sequence[Path], columns: Sequence[str]) -> pa.Table:
        """`fill.counting.daily` over Parquet files with these columns; raises EngineError."""
        try:
            tables = [self._rows(part, columns, number) for number, part in enumerate(parts)]
            rows = tables[0].union(*tables[1:]) if len(tables) > 1 else tables[0]
            table: pa.Table = daily(rows).to_pyarrow()
        except Exception as exc:  # engines have errors of their own, by the hundred
            raise EngineError(f"{self._name}: {_words(exc)}") from exc
        return table.combine_chunks()

    def _rows(self, part: Path, columns: Sequence[str], number: int) -> Any:
        import ibis

        table = self._connection.read_parquet(str(part))
        texts = ("home", "appliance")
        wanted = {
            name: table[name].cast("string" if name in texts else "int64") for name in columns
        }
        return table.select(part=ibis.literal(number, "int64"), **wanted)


@contextmanager
def connected(engine: str, master: str = LOCAL) -> Iterator[Engine]:
    """An engine, duckdb or spark, for as long as it is needed.

    Raises UnavailableError when it is not installed or does not start.
    """
    try:
        import ibis
    except ImportError as exc:
        raise UnavailableError(f"Ibis is not installed: {_INSTALL['duckdb']}") from exc
    if engine == "duckdb":
        connection = ibis.duckdb.connect()
        try:
            yield Engine(engine, connection)
        finally:
            connection.disconnect()
        return
    session = _spark(master)
    try:
        yield Engine(engine, ibis.pyspark.connect(session))
    finally:
        session.stop()


def _spark(master: str) -> Any:
    """A Spark session on `master`; its chatter stays off the terminal."""
    try:
        from pyspark.sql import SparkSession
    except ImportError as exc:
        raise UnavailableError(f"Spark is not installed: {_INSTALL['spark']}") from exc
    warnings.filterwarnings("ignore", category=FutureWarning, module="pyspark")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("fill demand").master(master)
    for key, value in _settings(master).items():
        builder = builder.config(key, value)
    try:
        session = builder.getOrCreate()
    except Exception as exc:  # Java is missing, or the master does not answer
        told = str(exc).strip().splitlines()
        raise UnavailableError(
            f"Spark does not start ({told[0][:200] if told else exc!r}): {_INSTALL['spark']}"
        ) from exc
    session.sparkContext.setLogLevel("ERROR")
    return session


def _words(exc: Exception) -> str:
    """What an engine says of its failure, without the stack of its Java."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    telling = [line for line in lines if "Exception" in line or "Error" in line]
    return " ".join([*lines[:1], *telling[:1]])[:400] or repr(exc)


def _settings(master: str) -> dict[str, str]:
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "true" if sys.stderr.isatty() else "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "true",  # a sum that overflows is an error, not a wrong number
        "spark.sql.execution.arrow.pyspark.enabled": "true",
    }
    if master.startswith("local"):
        settings |= {
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.sql.shuffle.partitions": "2",
            "spark.sql.codegen.wholeStage": "false",  # for minutes of work, not for seconds
            "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        }
    return settings
