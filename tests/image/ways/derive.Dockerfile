ARG ALEMBIC_JOB=alembic-job
FROM ${ALEMBIC_JOB}
# what env.py and the migrations import
COPY requirements.txt ./
USER 0
RUN pip install --no-cache-dir -r requirements.txt
USER 10001:0
COPY . .
