"""What a store in PostgreSQL needs on a standby that is promoted."""

import psycopg

from phantom_messenger.engines.postgres import schema
from support.postgres_server import PostgresServer

UNLOGGED_SEQUENCES = """
    SELECT relname FROM pg_class WHERE relkind = 'S' AND relpersistence = 'u'
        AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)"""


def test_no_sequence_is_unlogged(postgres: PostgresServer, template: str) -> None:
    """Such a one cannot be used after a promotion, and each login and each change of presence would fail."""
    url = postgres.make_database(template)
    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute(UNLOGGED_SEQUENCES, (schema.TABLES,)).fetchall() == []
        connection.execute("CREATE UNLOGGED TABLE phantom.control (entry bigint GENERATED ALWAYS AS IDENTITY)")
        assert connection.execute(UNLOGGED_SEQUENCES, (schema.TABLES,)).fetchall() == [("control_entry_seq",)]
    postgres.drop_database(url)
