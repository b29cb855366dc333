"""A look at everybody's presence reads what concerns the users whom it is about, also before there are statistics."""

import psycopg

from phantom_messenger.engines.postgres import PostgresStore, schema, store
from support.postgres_server import PostgresServer

USERS, CONTACTS = 300, 10
FILLED = f"""
INSERT INTO accounts (user_id, public_key, standing, active_on) SELECT 'u' || n, '', 0, 0
    FROM generate_series(1, {USERS}) AS n;
INSERT INTO written (sender, recipient, conversation)
    SELECT a.account, b.account, '' FROM accounts AS a, accounts AS b
    WHERE (a.account - b.account + {USERS}) % {USERS} IN (
        SELECT d FROM generate_series(1, {CONTACTS // 2}) AS d
        UNION SELECT {USERS} - d FROM generate_series(1, {CONTACTS // 2}) AS d);
INSERT INTO sessions (account, relay, connected_at, presence)
    SELECT account, CASE account % 2 WHEN 0 THEN 'here' ELSE 'there' END, 1, 'online' FROM accounts;
"""  # noqa: S608 - numbers of ours


def test_whole_look_reads_the_sessions_of_contacts_and_no_others(postgres: PostgresServer, template: str) -> None:
    url = postgres.make_database(template)
    PostgresStore(url).close()
    with psycopg.connect(url) as connection:
        connection.execute(f"SET search_path = {schema.functions_schema()}, {schema.TABLES}".encode())
        for name, value in store._SESSION.items():
            connection.execute("SELECT set_config(%s, %s, false)", (name, value))
        connection.execute(FILLED.encode())
        connection.commit()
        found = connection.execute("SELECT * FROM see_presence('here', 0, true)").fetchall()
        assert len(found) == USERS
        assert sum(len(watchers) for *_, watchers in found) == USERS * CONTACTS // 2
        [(read,)] = connection.execute(
            "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'sessions'"
        ).fetchall()
        assert 0 < read <= 3 * USERS * CONTACTS
    postgres.drop_database(url)
