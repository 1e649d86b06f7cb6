# One image for web, worker and beat. Packages are installed by hash; the process is not root.
FROM python:3.12-slim
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 BYOCA_MODE=deployed
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir --require-hashes -r requirements.txt
COPY . .
RUN BYOCA_MODE=embedded BYOCA_DATA_DIR=/tmp/build python manage.py collectstatic --noinput --verbosity 0 \
    && mv /tmp/build/static staticfiles && rm -rf /tmp/build \
    && useradd --system --no-create-home portal \
    && install --directory --owner portal --mode 700 /var/lib/beat /var/lib/byoca
USER portal
EXPOSE 8000
CMD ["gunicorn", "byoca_portal.wsgi", "--bind", "0.0.0.0:8000", "--worker-class", "gthread", "--workers", "2", "--threads", "8"]
