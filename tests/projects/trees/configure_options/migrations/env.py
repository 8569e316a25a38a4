import os

from alembic import context
from shop.models import metadata
from sqlalchemy import create_engine, text


def include_object(obj, name, type_, reflected, compare_to):
    return not (type_ == "table" and name.startswith("legacy_"))


def include_name(name, type_, parent_names):
    return type_ != "schema" or name in (None, "public")


def compare_type(migration_context, inspected, metadata_column, inspected_type, metadata_type):
    return None


def no_empty_revision(migration_context, revision, directives):
    if directives and directives[0].upgrade_ops.is_empty():
        directives[:] = []


def audit(ctx, step, heads, run_args, **kw):
    ctx.connection.execute(
        text("INSERT INTO audit (revision, upgrade, heads, args) VALUES (:revision, :upgrade, :heads, :args)"),
        {
            "revision": step.up_revision_id,
            "upgrade": step.is_upgrade,
            "heads": ",".join(sorted(heads)),
            "args": str(run_args),
        },
    )


with create_engine(os.environ["DATABASE_URL"]).connect() as connection:
    connection.execute(
        text("CREATE TABLE IF NOT EXISTS audit (id serial, revision text, upgrade bool, heads text, args text)")
    )
    connection.commit()
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_type=compare_type,
        compare_server_default=True,
        include_object=include_object,
        include_name=include_name,
        include_schemas=True,
        render_as_batch=True,
        user_module_prefix="shop.",
        process_revision_directives=no_empty_revision,
        on_version_apply=[audit],
        transaction_per_migration=True,
        shop_option="seen",
    )
    with context.begin_transaction():
        context.run_migrations(by="ci")
