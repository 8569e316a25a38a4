# A stand-in for python:3.13-slim-trixie, used only where that image cannot be pulled: Debian's own Python 3.13, at the
# paths of the real image, without compiled standard library, as there.
FROM alembic-job-stand-in/distribution:trixie
ENV PATH=/usr/local/bin:$PATH
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-venv python3-pip \
 && apt-get clean && rm -rf /var/lib/apt/lists/* /usr/lib/python3*/EXTERNALLY-MANAGED \
 && find /usr/lib -name '*.pyc' -delete \
 && for name in python3 python pip3 pip; do \
      ln -s "/usr/bin/$(echo "$name" | tr -d 3)3" "/usr/local/bin/$name"; \
    done
CMD ["python3"]
