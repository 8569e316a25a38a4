"""Planted rows, and what each of many statements would destroy of them or be refused by."""

from __future__ import annotations

from dataclasses import dataclass

PLANTED = '''
CREATE TYPE mood AS ENUM ('happy', 'sad', 'meh');
CREATE DOMAIN short AS varchar(20);
CREATE TABLE users (id int PRIMARY KEY, email varchar(20), age bigint, grade text, price numeric(10, 4),
    seen timestamptz, note text, code text, ratio float8, twice bigint GENERATED ALWAYS AS (age * 2) STORED, nick short,
    tags text[], flag boolean, extra json);
INSERT INTO users (id, email, age, grade, price, seen, note, code, ratio, nick, tags, flag, extra) SELECT n,
    CASE WHEN n % 4 > 0 THEN repeat('x', n % 10 + 1) END,
    CASE WHEN n <= 3 THEN 3000000000 + n ELSE n END, CASE WHEN n % 2 = 0 THEN 'a' ELSE 'b' END,
    n + CASE WHEN n <= 7 THEN 0.005 ELSE 0 END,
    (CASE WHEN n <= 9 THEN '2024-01-01 10:00+00' ELSE '2024-01-01 00:00+00' END)::timestamptz, NULL,
    CASE WHEN n <= 5 THEN 'n/a' ELSE n::text END, CASE WHEN n <= 6 THEN 0.5 + n ELSE n END,
    CASE WHEN n <= 8 THEN 'longer nickname' ELSE 'nick' END, ARRAY['a', 'bcdef'], n <= 30, '{"a":  1}'
    FROM generate_series(1, 100) n;
CREATE TABLE orders (id serial PRIMARY KEY, user_id int REFERENCES users ON DELETE CASCADE, total int,
    mood mood DEFAULT 'happy');
INSERT INTO orders (user_id, total, mood) SELECT n % 50 + 1, n % 20,
    (CASE WHEN n <= 12 THEN 'meh' ELSE 'sad' END)::mood FROM generate_series(1, 200) n;
CREATE TABLE lines (id int PRIMARY KEY, order_id int REFERENCES orders ON DELETE SET NULL, loose int);
INSERT INTO lines SELECT n, n, 90 + n FROM generate_series(1, 40) n;
CREATE TABLE empty (id int PRIMARY KEY, text text NOT NULL);
CREATE TABLE events (id int, day date, kind text) PARTITION BY RANGE (day);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
INSERT INTO events SELECT n, '2024-01-01'::date + n % 60, CASE WHEN n <= 25 THEN 'k' END FROM generate_series(1, 59) n;
CREATE TABLE parent (id int, name text);
CREATE TABLE child (more text) INHERITS (parent);
INSERT INTO parent SELECT n, 'p' FROM generate_series(1, 4) n;
INSERT INTO child SELECT n, CASE WHEN n > 2 THEN 'c' END, 'm' FROM generate_series(1, 6) n;
CREATE SCHEMA "Größe ""1""";
CREATE TABLE "Größe ""1"""."Tab %s; --" ("Spalte é" int, "%(x)s" text);
INSERT INTO "Größe ""1"""."Tab %s; --" SELECT n, CASE WHEN n = 1 THEN 'x' END FROM generate_series(1, 11) n;
CREATE SEQUENCE used; SELECT nextval('used'), nextval('used'); CREATE SEQUENCE unused;
CREATE TABLE booked (room int, during int4range);
INSERT INTO booked SELECT 1, int4range(n, n + 2) FROM generate_series(1, 4) n;
CREATE TABLE seen (id int); INSERT INTO seen VALUES (1), (2);
CREATE VIEW grown AS SELECT * FROM seen; CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM seen;
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY); INSERT INTO alembic_version VALUES ('abc');
CREATE FUNCTION writes() RETURNS int LANGUAGE sql AS 'DELETE FROM public.users RETURNING 1';
CREATE TABLE tree (id int PRIMARY KEY, above int REFERENCES tree ON DELETE CASCADE, bits bit(5));
INSERT INTO tree SELECT n, nullif(n / 2, 0), B'10100' FROM generate_series(1, 9) n;
CREATE TABLE watched AS SELECT generate_series(1, 3) AS id;
CREATE FUNCTION react() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE users SET email = 1; RETURN NULL; END';
CREATE TRIGGER fires AFTER DELETE ON watched EXECUTE FUNCTION react();
ALTER TABLE lines ADD CONSTRAINT small CHECK (loose < 120) NOT VALID;
ANALYZE;
'''


@dataclass(frozen=True)
class Case:
    """Statements, and the findings' texts, each with its kind in front if it is `unknown`."""

    name: str
    statements: str
    expected: tuple[str, ...] = ()


def lost(count: int, what: str, why: str = "", unit: str = "rows") -> str:
    return _text(count, what, "lost", why, unit)


def refused(count: int, what: str, why: str = "", unit: str = "rows") -> str:
    return _text(count, what, "refused", why, unit)


def _text(count: int, what: str, word: str, why: str, unit: str) -> str:
    unit = unit.removesuffix("s") if count == 1 else unit
    return f"{count:,} {unit} of {what} would be {word}{f': {why}' if why else ''}"


USERS, ORDERS, LINES = "table public.users", "table public.orders", "table public.lines"
OVER = "overwritten by UPDATE"
CASCADED = "by foreign key orders_user_id_fkey, ON DELETE CASCADE"
SAME = "another row has the same"


def values(count: int, column: str, why: str = "", word: str = "lost") -> str:
    return _text(count, f"column public.{column}", word, why, "values")


DROPS = [
    Case("table", "DROP TABLE lines", (lost(40, LINES),)),
    Case("table, cascade", "DROP TABLE seen CASCADE", (lost(2, "table public.seen"),)),
    Case("empty table", "DROP TABLE empty", (lost(0, "table public.empty"),)),
    Case("partitioned table", "DROP TABLE events", (lost(59, "table public.events"),)),
    Case("partition", "DROP TABLE events_2", (lost(29, "table public.events_2"),)),
    Case("children", "DROP TABLE parent CASCADE", (lost(4, "table public.parent"), lost(6, "table public.child"))),
    Case("child", "DROP TABLE child", (lost(6, "table public.child"),)),
    Case("several", "DROP TABLE lines, orders", (lost(40, LINES), lost(200, ORDERS))),
    Case("if there", "DROP TABLE IF EXISTS nowhere"),
    Case("not there", "DROP TABLE nowhere", ("table nowhere: there is no such table",)),
    Case("column", "ALTER TABLE users DROP COLUMN email", (values(75, "users.email"),)),
    Case("column without values", "ALTER TABLE users DROP COLUMN note", (values(0, "users.note"),)),
    Case(
        "column that is not there",
        "ALTER TABLE users DROP COLUMN nothing",
        ("column public.users.nothing: there is no such column",),
    ),
    Case("if the table is there", "ALTER TABLE IF EXISTS nowhere DROP COLUMN nothing"),
    Case("column if there", "ALTER TABLE users DROP COLUMN IF EXISTS nothing"),
    Case("column of partitions", "ALTER TABLE events DROP COLUMN kind", (values(25, "events.kind"),)),
    Case("column of children", "ALTER TABLE parent DROP COLUMN name", (values(8, "parent.name"),)),
    Case("column of a parent only", "ALTER TABLE ONLY parent DROP COLUMN name", (values(4, "parent.name"),)),
    Case("generated column", "ALTER TABLE users DROP COLUMN twice"),
    Case("views", "DROP MATERIALIZED VIEW totals; DROP VIEW grown"),
    Case(
        "index and constraint", "CREATE INDEX i ON users (age); DROP INDEX i; ALTER TABLE lines DROP CONSTRAINT small"
    ),
    Case("type, cascade", "DROP TYPE mood CASCADE", (values(200, "orders.mood"),)),
    Case("domain, cascade", "DROP DOMAIN short CASCADE", (values(100, "users.nick"),)),
    Case("unused type", "CREATE TYPE other AS ENUM ('x'); DROP TYPE other"),
    Case("function", "DROP FUNCTION writes()"),
    Case("sequence", "DROP SEQUENCE used", ("1 value of sequence public.used would be lost: it stands at 2",)),
    Case("unused sequence", "DROP SEQUENCE unused", ("0 values of sequence public.unused would be lost",)),
    Case(
        "schema",
        'DROP SCHEMA "Größe ""1""" CASCADE',
        (lost(11, 'table "Größe ""1"""."Tab %s; --"'),),
    ),
    Case(
        "odd names",
        'ALTER TABLE "Größe ""1"""."Tab %s; --" DROP COLUMN "Spalte é", DROP COLUMN "%(x)s"',
        tuple(
            f'{count} value{"s"[: count - 1]} of column "Größe ""1"""."Tab %s; --"."{column}" would be lost'
            for count, column in ((11, "Spalte é"), (1, "%(x)s"))
        ),
    ),
    Case("truncate", "TRUNCATE lines", (lost(40, LINES),)),
    Case("truncate, cascade", "TRUNCATE users CASCADE", (lost(100, USERS), lost(200, ORDERS), lost(40, LINES))),
    Case("truncate a parent only", "TRUNCATE ONLY parent", (lost(4, "table public.parent"),)),
]

DML = [
    Case("delete", "DELETE FROM lines WHERE id > 30", (lost(10, LINES),)),
    Case("delete all", "DELETE FROM lines", (lost(40, LINES),)),
    Case("delete none", "DELETE FROM lines WHERE id > 1000", (lost(0, LINES),)),
    Case(
        "delete, using",
        "DELETE FROM lines l USING orders o WHERE l.order_id = o.id AND o.total < 3",
        (lost(6, LINES),),
    ),
    Case(
        "delete, with",
        "WITH few AS (SELECT id FROM orders WHERE total = 1) DELETE FROM lines WHERE order_id IN (SELECT id FROM few)",
        (lost(2, LINES),),
    ),
    Case(
        "delete what others refer to",
        "DELETE FROM users WHERE id BETWEEN 2 AND 3",
        (lost(2, USERS), lost(8, ORDERS, CASCADED), values(2, "lines.order_id", "by foreign key lines_order_id_fkey")),
    ),
    Case("delete from a parent only", "DELETE FROM ONLY parent", (lost(4, "table public.parent"),)),
    Case("delete from children too", "DELETE FROM parent", (lost(10, "table public.parent"),)),
    Case("delete leaves of a tree", "DELETE FROM tree WHERE id = 9", (lost(1, "table public.tree"),)),
    Case("version table", "DELETE FROM alembic_version; UPDATE alembic_version SET version_num = 'x'"),
    Case(
        "update",
        "UPDATE users SET grade = 'c' WHERE grade = 'b'",
        (values(50, "users.grade", OVER),),
    ),
    Case("update to the same", "UPDATE users SET grade = 'a'", (values(50, "users.grade", OVER),)),
    Case("update of nulls", "UPDATE users SET note = 'x', grade = grade"),
    Case(
        "update, from",
        "UPDATE lines SET loose = o.total FROM orders o WHERE o.id = lines.order_id",
        (values(40, "lines.loose", OVER),),
    ),
    Case(
        "update of a new column",
        "ALTER TABLE users ADD COLUMN full_name text DEFAULT '-'; UPDATE users SET full_name = email || grade;"
        "ALTER TABLE users DROP COLUMN full_name",
    ),
    Case("insert", "INSERT INTO empty VALUES (1, 'x')"),
]

ORDER = [
    Case(
        "deleted, then dropped", "DELETE FROM lines WHERE id > 30; DROP TABLE lines", (lost(10, LINES), lost(30, LINES))
    ),
    Case("column, then table", "ALTER TABLE lines DROP COLUMN loose; DROP TABLE lines", (lost(40, LINES),)),
    Case("truncated, then dropped", "TRUNCATE lines; DROP TABLE lines", (lost(40, LINES), lost(0, LINES))),
    Case("made and dropped", "CREATE TABLE new (id int); INSERT INTO empty VALUES (1, ''); DROP TABLE new"),
    Case(
        "view made and dropped", "CREATE VIEW v2 AS SELECT 1 AS one; DROP VIEW v2; CREATE SEQUENCE s2; DROP SEQUENCE s2"
    ),
    Case(
        "a type by its new name",
        "ALTER TYPE mood RENAME TO mood_old; CREATE TYPE mood AS ENUM ('x');"
        "UPDATE orders SET mood = 'sad'::mood_old WHERE mood = 'meh'::mood_old",
        (values(12, "orders.mood", OVER),),
    ),
    Case(
        "by its old name",
        "ALTER TABLE lines RENAME TO rows; DROP TABLE lines",
        ("table lines: there is no such table",),
    ),
    Case("table renamed", "ALTER TABLE lines RENAME TO rows; DROP TABLE rows", (lost(40, LINES),)),
    Case(
        "a new table under the old name",
        "ALTER TABLE lines RENAME TO lines_old; CREATE TABLE lines (id int); DROP TABLE lines; DROP TABLE lines_old",
        (lost(40, LINES),),
    ),
    Case(
        "two tables swap names",
        "ALTER TABLE lines RENAME TO t; ALTER TABLE empty RENAME TO lines; DROP TABLE lines",
        (lost(0, "table public.empty"),),
    ),
    Case(
        "column renamed",
        "ALTER TABLE users RENAME email TO mail; ALTER TABLE users DROP mail",
        (values(75, "users.mail"),),
    ),
    Case(
        "columns swap names",
        "ALTER TABLE users RENAME note TO n; ALTER TABLE users RENAME email TO note; ALTER TABLE users DROP note",
        (values(75, "users.note"),),
    ),
    Case(
        "renamed, then checked",
        "ALTER TABLE users RENAME age TO years; ALTER TABLE users RENAME TO people;"
        "ALTER TABLE people ADD CHECK (people.years < 100)",
        (refused(4, USERS, "CHECK (people.years < 100)"),),
    ),
    Case(
        "moved",
        'ALTER TABLE lines SET SCHEMA "Größe ""1"""; DROP TABLE "Größe ""1""".lines',
        (lost(40, LINES),),
    ),
    Case(
        "moved out of a dropped schema",
        'ALTER TABLE "Größe ""1"""."Tab %s; --" SET SCHEMA public; DROP SCHEMA "Größe ""1""" CASCADE',
    ),
    Case(
        "search path",
        'SET search_path = "Größe ""1"""; DROP TABLE "Tab %s; --"',
        (lost(11, 'table "Größe ""1"""."Tab %s; --"'),),
    ),
    Case(
        "nulls filled, then NOT NULL",
        "UPDATE users SET email = 'x' WHERE email IS NULL; ALTER TABLE users ALTER email SET NOT NULL",
    ),
    Case(
        "some nulls filled, then NOT NULL",
        "UPDATE users SET email = 'x' WHERE email IS NULL AND id > 20; ALTER TABLE users ALTER email SET NOT NULL",
        (refused(5, USERS, "email would be NOT NULL, and is null"),),
    ),
    Case(
        "doubles deleted, then UNIQUE",
        "DELETE FROM lines WHERE id > 5; UPDATE lines SET loose = 1; ALTER TABLE lines ADD UNIQUE (loose)",
        (lost(35, LINES), values(5, "lines.loose", OVER), refused(4, LINES, f"UNIQUE (loose), {SAME}")),
    ),
]

TYPES = [
    Case(
        "wider",
        "ALTER TABLE users ALTER email TYPE varchar(30), ALTER flag TYPE text, ALTER id TYPE bigint;"
        "ALTER TABLE users ALTER nick TYPE text, ALTER extra TYPE text",
    ),
    Case(
        "shorter",
        "ALTER TABLE users ALTER email TYPE varchar(8)",
        (values(15, "users.email", "from varchar(20) to varchar(8)", "refused"),),
    ),
    Case(
        "shorter, cut",
        "ALTER TABLE users ALTER email TYPE varchar(8) USING email::varchar(8)",
        (values(15, "users.email", "changed from varchar(20) to varchar(8)"),),
    ),
    Case(
        "text to varchar",
        "ALTER TABLE users ALTER code TYPE varchar(2)",
        (values(6, "users.code", "from text to varchar(2)", "refused"),),
    ),
    Case(
        "text to char",
        "ALTER TABLE users ALTER code TYPE char(2)",
        (values(6, "users.code", "from text to char(2)", "refused"),),
    ),
    Case(
        "int to varchar",
        "ALTER TABLE users ALTER id TYPE varchar(2)",
        (values(1, "users.id", "from integer to varchar(2)", "refused"),),
    ),
    Case(
        "domain",
        "ALTER TABLE users ALTER nick TYPE varchar(5)",
        (values(8, "users.nick", "from varchar(20) to varchar(5)", "refused"),),
    ),
    Case("to a domain", "ALTER TABLE users ALTER email TYPE short"),
    Case(
        "bigint to int",
        "ALTER TABLE users ALTER age TYPE int",
        (values(3, "users.age", "from bigint to int", "refused"),),
    ),
    Case(
        "bigint to smallint",
        "ALTER TABLE users ALTER age TYPE smallint",
        (values(3, "users.age", "from bigint to smallint", "refused"),),
    ),
    Case(
        "scale",
        "ALTER TABLE users ALTER price TYPE numeric(8, 2)",
        (values(7, "users.price", "changed from numeric(10,4) to numeric(8, 2)"),),
    ),
    Case(
        "precision and scale",
        "ALTER TABLE users ALTER price TYPE numeric(3, 1)",
        (
            values(1, "users.price", "from numeric(10,4) to numeric(3, 1)", "refused"),
            values(7, "users.price", "changed from numeric(10,4) to numeric(3, 1)"),
        ),
    ),
    Case(
        "fraction",
        "ALTER TABLE users ALTER price TYPE int",
        (values(7, "users.price", "changed from numeric(10,4) to int"),),
    ),
    Case(
        "float to int",
        "ALTER TABLE users ALTER ratio TYPE int",
        (values(6, "users.ratio", "changed from double precision to int"),),
    ),
    Case("float to real", "ALTER TABLE users ALTER ratio TYPE real"),
    Case(
        "time of day",
        "SET timezone = 'UTC'; ALTER TABLE users ALTER seen TYPE date",
        (values(9, "users.seen", "changed from timestamp with time zone to date"),),
    ),
    Case("timestamptz to timestamp", "ALTER TABLE users ALTER seen TYPE timestamp"),
    Case(
        "text to int",
        "ALTER TABLE users ALTER code TYPE int USING code::int",
        (values(5, "users.code", "from text to int", "refused"),),
    ),
    Case(
        "text to int without USING",
        "ALTER TABLE users ALTER code TYPE int",
        ("column public.users.code: no cast from text to int without USING",),
    ),
    Case("bool to int", "ALTER TABLE users ALTER flag TYPE int USING flag::int"),
    Case(
        "bool to int by an expression", "ALTER TABLE users ALTER flag TYPE int USING CASE WHEN flag THEN 1 ELSE 0 END"
    ),
    Case(
        "some become null",
        "ALTER TABLE users ALTER grade TYPE int USING CASE grade WHEN 'a' THEN 1 END",
        (
            values(50, "users.grade", "changed from text to int"),
            "column public.users.grade: 50 values would be others from text to int,"
            " by an expression of the statement's own",
        ),
    ),
    Case(
        "bits",
        "ALTER TABLE tree ALTER bits TYPE bit(3)",
        (values(9, "tree.bits", "from bit(5) to bit(3)", "refused"),),
    ),
    Case("bits, cut", "ALTER TABLE tree ALTER bits TYPE bit(3) USING bits::bit(3)"),
    Case("json", "ALTER TABLE users ALTER extra TYPE jsonb"),
    Case("json to text", "ALTER TABLE users ALTER extra TYPE text"),
    Case(
        "text to json",
        "ALTER TABLE users ALTER code TYPE json USING code::json",
        (values(5, "users.code", "from text to json", "refused"),),
    ),
    Case(
        "array",
        "ALTER TABLE users ALTER tags TYPE varchar(3)[] USING tags::varchar(3)[]",
        (values(100, "users.tags", "changed from text[] to varchar(3)[]"),),
    ),
    Case("enum to text", "ALTER TABLE orders ALTER mood DROP DEFAULT, ALTER mood TYPE text; DROP TYPE mood"),
    Case(
        "array of shorter elements",
        "ALTER TABLE users ALTER tags TYPE varchar(3)[]",
        (values(100, "users.tags", "from text[] to varchar(3)[]", "refused"),),
    ),
    Case(
        "enum made anew",
        "ALTER TYPE mood RENAME TO mood_old; CREATE TYPE mood AS ENUM ('happy', 'sad');"
        "ALTER TABLE orders ALTER mood DROP DEFAULT, ALTER mood TYPE mood USING mood::text::mood; DROP TYPE mood_old",
        (values(12, "orders.mood", "from mood to mood (happy, sad)", "refused"),),
    ),
    Case(
        "enum made anew, values replaced before",
        "UPDATE orders SET mood = 'sad' WHERE mood = 'meh';"
        "ALTER TYPE mood RENAME TO mood_old; CREATE TYPE mood AS ENUM ('happy', 'sad');"
        "ALTER TABLE orders ALTER mood DROP DEFAULT, ALTER mood TYPE mood USING mood::text::mood; DROP TYPE mood_old",
        (values(12, "orders.mood", OVER),),
    ),
    Case(
        "enum made anew, values replaced within",
        "CREATE TYPE mood_new AS ENUM ('happy', 'sad'); ALTER TABLE orders ALTER mood DROP DEFAULT;"
        "ALTER TABLE orders ALTER mood TYPE mood_new"
        " USING (CASE mood::text WHEN 'meh' THEN 'sad' ELSE mood::text END)::mood_new;"
        "DROP TYPE mood; ALTER TYPE mood_new RENAME TO mood",
        (values(12, "orders.mood", "changed from mood to mood_new (happy, sad)"),),
    ),
    Case(
        "text to a new enum",
        "CREATE TYPE g AS ENUM ('a'); ALTER TABLE users ALTER grade TYPE g USING grade::g",
        (values(50, "users.grade", "from text to g (a)", "refused"),),
    ),
    Case(
        "element of an array",
        "ALTER TABLE users ALTER tags TYPE text USING tags[1]",
        (
            "column public.users.tags: 100 values would be others from text[] to text,"
            " by an expression of the statement's own",
        ),
    ),
    Case("type of an empty table", "ALTER TABLE empty ALTER text TYPE varchar(1), ALTER id TYPE smallint"),
]

CONSTRAINED = [
    Case(
        "not null",
        "ALTER TABLE users ALTER email SET NOT NULL",
        (refused(25, USERS, "email would be NOT NULL, and is null"),),
    ),
    Case("not null as it is", "ALTER TABLE users ALTER id SET NOT NULL, ALTER code SET NOT NULL"),
    Case(
        "not null of children",
        "ALTER TABLE parent ALTER name SET NOT NULL",
        (refused(2, "table public.parent", "name would be NOT NULL, and is null"),),
    ),
    Case("unique", "ALTER TABLE users ADD UNIQUE (grade)", (refused(98, USERS, f"UNIQUE (grade), {SAME}"),)),
    Case("unique of a partitioned table alone", "CREATE UNIQUE INDEX u ON ONLY events (kind, day)"),
    Case("unique, nulls", "ALTER TABLE users ADD UNIQUE (note)"),
    Case(
        "unique, nulls are the same",
        "ALTER TABLE users ADD UNIQUE NULLS NOT DISTINCT (note)",
        (refused(99, USERS, f"UNIQUE (note), {SAME}"),),
    ),
    Case(
        "unique, two columns",
        "ALTER TABLE orders ADD CONSTRAINT u UNIQUE (user_id, total)",
        (refused(100, ORDERS, f"UNIQUE (user_id, total), {SAME}"),),
    ),
    Case(
        "unique index, partial",
        "CREATE UNIQUE INDEX u ON users (grade) WHERE id < 6",
        (refused(3, USERS, f"UNIQUE (grade), {SAME}"),),
    ),
    Case(
        "unique index, expression",
        "CREATE UNIQUE INDEX u ON users (lower(grade), (id % 50))",
        (refused(50, USERS, f"UNIQUE (…, …), {SAME}"),),
    ),
    Case(
        "primary key",
        "ALTER TABLE parent ADD PRIMARY KEY (name)",
        (
            refused(2, "table public.parent", "name would be NOT NULL, and is null"),
            refused(3, "table public.parent", f"PRIMARY KEY (name), {SAME}"),
        ),
    ),
    Case(
        "check",
        "ALTER TABLE users ADD CHECK (age < 100 AND id > 0)",
        (refused(4, USERS, "CHECK (age < 100 AND id > 0)"),),
    ),
    Case("check, not valid", "ALTER TABLE users ADD CONSTRAINT c CHECK (age < 100) NOT VALID"),
    Case(
        "check, validated later",
        "ALTER TABLE users ADD CONSTRAINT c CHECK (age < 100) NOT VALID; ALTER TABLE users VALIDATE CONSTRAINT c",
        (refused(4, USERS, "CHECK (age < 100)"),),
    ),
    Case(
        "an old one is validated",
        "ALTER TABLE lines VALIDATE CONSTRAINT small",
        (refused(11, LINES, "CHECK (loose < 120)"),),
    ),
    Case(
        "foreign key",
        "ALTER TABLE lines ADD FOREIGN KEY (loose) REFERENCES users",
        (refused(30, LINES, "FOREIGN KEY (loose), public.users has no such row"),),
    ),
    Case(
        "foreign key to a new table",
        "CREATE TABLE places (id int, PRIMARY KEY (id)); ALTER TABLE lines ADD FOREIGN KEY (loose) REFERENCES places",
        (refused(40, LINES, "FOREIGN KEY (loose), public.places has no such row"),),
    ),
    Case(
        "foreign key of an empty column",
        "ALTER TABLE users ADD COLUMN place int REFERENCES orders; ALTER TABLE users DROP place",
    ),
    Case(
        "exclusion",
        "ALTER TABLE booked ADD EXCLUDE USING gist (during WITH &&)",
        (refused(3, "table public.booked", "EXCLUDE (during), another row conflicts"),),
    ),
    Case(
        "new column, NOT NULL",
        "ALTER TABLE users ADD COLUMN x int NOT NULL",
        (refused(100, USERS, "x would be NOT NULL, and is null"),),
    ),
    Case(
        "new column, NOT NULL with default",
        "ALTER TABLE users ADD COLUMN x int NOT NULL DEFAULT 7, ADD y serial;"
        "ALTER TABLE users ADD z bigint GENERATED ALWAYS AS IDENTITY",
    ),
    Case("empty partition", "CREATE TABLE p (LIKE events); ALTER TABLE events ATTACH PARTITION p DEFAULT"),
    Case(
        "new columns with values of their own",
        "ALTER TABLE booked ADD id serial PRIMARY KEY, ADD u uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE;"
        "ALTER TABLE booked ADD z int NOT NULL UNIQUE GENERATED ALWAYS AS IDENTITY",
    ),
    Case("new column of an empty table", "ALTER TABLE empty ADD COLUMN x int NOT NULL"),
    Case(
        "new column, UNIQUE with default",
        "ALTER TABLE users ADD COLUMN x int DEFAULT 7 UNIQUE",
        (refused(99, USERS, f"UNIQUE (x), {SAME}"),),
    ),
    Case(
        "new column, checked",
        "ALTER TABLE users ADD COLUMN x int DEFAULT 7 CHECK (x + id < 100)",
        (refused(8, USERS, "CHECK ((x + id) < 100)"),),
    ),
    Case(
        "domain",
        "ALTER DOMAIN short ADD CHECK (VALUE <> 'nick')",
        (refused(92, "column public.users.nick", "domain short, value <> 'nick'", "values"),),
    ),
]

UNKNOWN = [
    Case(
        "delete the root of a tree",
        "DELETE FROM tree WHERE id = 2; DROP EXTENSION IF EXISTS x; DO ''",
        (
            "1 row of table public.tree would be lost",
            "about 2 rows of table public.tree would be lost: by foreign key tree_above_fkey, ON DELETE CASCADE,"
            " and what refers to them",
            "statement: a DO block runs code of its own",
        ),
    ),
    Case("do", "DO $$ BEGIN DELETE FROM public.users; END $$", ("statement: a DO block runs code of its own",)),
    Case("writing function", "SELECT writes()", ("statement: writes() may change anything",)),
    Case("no sql", "DROP TABEL users", ("statement: PostgreSQL's grammar does not accept it",)),
    Case(
        "where calls a writing function",
        "DELETE FROM users WHERE id = writes()",
        ("table public.users: it calls writes(), which may have effects of its own",),
    ),
    Case(
        "after a DO block",
        "DO $$ BEGIN END $$; DROP TABLE lines; ALTER TABLE users ALTER email SET NOT NULL; DROP TABLE nowhere",
        (
            "statement: a DO block runs code of its own",
            "about 40 rows of table public.lines would be lost",
            f"{USERS}: 25 rows would be refused now (email would be NOT NULL, and is null),"
            " but before it, a DO block runs code of its own",
            "table nowhere: there is no such table",
        ),
    ),
    Case(
        "after an INSERT",
        "INSERT INTO users (id) SELECT 1000 + id FROM lines; ALTER TABLE users ALTER email SET NOT NULL",
        (
            f"{USERS}: 25 rows would be refused now (email would be NOT NULL, and is null),"
            " but an earlier statement changes its rows",
        ),
    ),
    Case(
        "attached",
        "ALTER TABLE events DETACH PARTITION events_1;"
        "ALTER TABLE events ATTACH PARTITION events_1 FOR VALUES FROM ('2024-01-01') TO ('2024-01-09')",
        ("table public.events_1: rows outside of the partition's bounds would be refused",),
    ),
    Case(
        "renamed value",
        "ALTER TYPE mood RENAME VALUE 'meh' TO 'so so'; ALTER TABLE orders ALTER mood DROP DEFAULT;"
        "CREATE TYPE m AS ENUM ('happy'); ALTER TABLE orders ALTER mood TYPE m USING mood::text::m",
        ("column public.orders.mood: an earlier statement renames its values",),
    ),
    Case(
        "after a trigger",
        "DELETE FROM watched; ALTER TABLE users ALTER email SET NOT NULL",
        (
            "3 rows of table public.watched would be lost",
            f"{USERS}: 25 rows would be refused now (email would be NOT NULL, and is null),"
            " but before it, trigger fires of public.watched may change anything",
        ),
    ),
    Case(
        "after an extension", "CREATE EXTENSION plpgsql; DROP TABLE nowhere", ("table nowhere: there is no such table",)
    ),
    Case(
        "merge",
        "MERGE INTO lines l USING orders o ON o.id = l.id WHEN MATCHED THEN DELETE",
        ("table lines: what MERGE changes is not counted",),
    ),
    Case(
        "deleted in a WITH",
        "WITH d AS (DELETE FROM lines RETURNING *) SELECT count(*) FROM d",
        ("table lines: rows are changed within a WITH",),
    ),
    Case(
        "function made before",
        "CREATE FUNCTION f2() RETURNS int LANGUAGE sql AS 'SELECT 1'; SELECT f2()",
        ("statement: f2() may change anything",),
    ),
]
