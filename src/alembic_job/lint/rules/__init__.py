"""The rules, a module each, in the order in which `--explain` lists them."""

from __future__ import annotations

from alembic_job.lint.model import Rule
from alembic_job.lint.rules import (
    big_table,
    commits_itself,
    data_and_schema,
    downgrade_not_inverse,
    duplicate_revision,
    edited_after_applied,
    empty_downgrade,
    empty_revision,
    enum_value_used,
    formatted_sql,
    ignore_without_reason,
    imports_models,
    invalid_sql,
    missing_downgrade,
    models_out_of_step,
    multiple_heads,
    no_message,
    non_linear_dates,
    not_rendered,
    not_transactional,
    unused_ignore,
)

RULES: tuple[Rule, ...] = (
    big_table.RULE,
    commits_itself.RULE,
    data_and_schema.RULE,
    downgrade_not_inverse.RULE,
    duplicate_revision.RULE,
    edited_after_applied.RULE,
    empty_downgrade.RULE,
    empty_revision.RULE,
    enum_value_used.RULE,
    formatted_sql.RULE,
    ignore_without_reason.RULE,
    imports_models.RULE,
    invalid_sql.RULE,
    missing_downgrade.RULE,
    models_out_of_step.RULE,
    multiple_heads.RULE,
    no_message.RULE,
    non_linear_dates.RULE,
    not_rendered.RULE,
    not_transactional.RULE,
    unused_ignore.RULE,
)
