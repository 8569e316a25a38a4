"""What obstore leaves to Amazon's own library: uploads that nobody ended, and logins by a profile."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from alembic_job.errors import SettingsError

_FRESH = timedelta(minutes=5)  # after which botocore is asked again; it renews what runs out


def endpoint() -> str | None:
    """Of a store that speaks S3 and is not Amazon's."""
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        if value := os.environ.get(name):
            return value
    return None


def profile_login() -> Callable[[], dict[str, Any]] | None:
    """For AWS_PROFILE, a login from ~/.aws as obstore asks for it: keys, SSO, roles. Raises `SettingsError`."""
    profile = os.environ.get("AWS_PROFILE")
    if not profile or os.environ.get("AWS_ACCESS_KEY_ID"):
        return None
    try:
        import botocore.session
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise SettingsError(
            f"AWS_PROFILE={profile} needs the package botocore", hint="pip install 'alembic-job[s3]'"
        ) from error
    try:
        login = botocore.session.Session(profile=profile).get_credentials()
    except BotoCoreError as error:
        raise SettingsError(f"AWS_PROFILE={profile} cannot be used: {error}", hint="see ~/.aws/config") from error
    if login is None:
        raise SettingsError(
            f"AWS_PROFILE={profile} has no login", hint="log in (`aws sso login`), or see ~/.aws/config"
        )

    def now() -> dict[str, Any]:
        keys = login.get_frozen_credentials()
        return {
            "access_key_id": keys.access_key,
            "secret_access_key": keys.secret_key,
            "token": keys.token,
            "expires_at": datetime.now(UTC) + _FRESH,
        }

    return now


def abort_uploads(bucket: str, key: str) -> bool:
    """Aborts what killed runs have begun to upload to S3 as `key`, where botocore is installed: obstore cannot.

    Elsewhere the bucket's lifecycle rule has to (AbortIncompleteMultipartUpload). Returns true if nothing is left.
    """
    try:
        import botocore.session
        from botocore.config import Config
    except ImportError:
        return False
    style = {"addressing_style": "path"} if endpoint() else {}
    config = Config(s3=style, connect_timeout=5, read_timeout=30, retries={"max_attempts": 2})
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    client = botocore.session.get_session().create_client("s3", region_name=region, config=config)
    for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=key):
        for upload in page.get("Uploads", ()):
            if upload["Key"] == key:
                client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload["UploadId"])
    return True
