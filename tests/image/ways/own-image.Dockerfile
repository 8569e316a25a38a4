ARG ALEMBIC_JOB=alembic-job
FROM ${ALEMBIC_JOB} AS job

FROM python:3.13-slim-trixie
WORKDIR /srv
COPY requirements.txt ./
RUN pip install --no-cache-dir -r requirements.txt

# the job, without moving any version that the application has; and PostgreSQL's grammar, whose protobuf only a rollback's figures use
COPY --from=job /opt/alembic-job/wheel /tmp/wheel
RUN pip freeze >/tmp/pins.txt \
 && pip install --no-cache-dir -c /tmp/pins.txt /tmp/wheel/*.whl \
 && pip install --no-cache-dir --no-deps 'postgast>=0.2,<1'

COPY . .
USER 10001:0
